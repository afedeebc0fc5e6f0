"""Taking in the blobs that come along with a request."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import signal
import tarfile
from typing import Any, BinaryIO, Callable, Iterator, Mapping, NamedTuple, Optional, Tuple

from .begun import WORTH_KEEPING, complete, drop_begun
from .board_error import BoardError
from .call import Checkpoint
from .delta import MOST, patched
from .durable import Together, fsync_directory, remove, replace_file
from .layout import Board

SILENCE_S = 45.0  # a controller's ssh has given up by then; this side would hold the lock for hours
_DIGEST = "[0-9a-f]{64}"
_MEMBER = re.compile(
    "(?P<blob>{0})(?:/(?P<base>{0})/(?P<patch>{0}))?(?:/(?P<start>[1-9][0-9]{{0,11}}))?\\Z".format(_DIGEST)
)


class Part(NamedTuple):
    """What a member brings: a blob, or the patch that makes it of another; or the rest of either."""

    blob: str
    base: Optional[str]
    digest: str  # of the whole that is sent
    start: int  # bytes of it that came before

    @classmethod
    def of(cls, member: str) -> "Optional[Part]":
        match = _MEMBER.match(member)
        if match is None:
            return None
        blob, base, patch, start = match.group("blob", "base", "patch", "start")
        return cls(blob, base, patch or blob, int(start or 0))

    def is_wanted(self, length: int, wanted: Mapping[str, int]) -> bool:
        """Whether a member of `length` bytes can be this; `wanted` has the size of each blob."""
        size = wanted.get(self.blob, -1)
        if self.base is None:
            return self.start + length == size
        return self.start + length < size <= MOST


def receive_blobs(
    board: Board, stream: BinaryIO, size: int, wanted: Mapping[str, int], checkpoint: Checkpoint
) -> None:
    """Read `size` bytes of tar and keep its members; each is checked before it gets its name.

    Args:
        wanted: size by digest; nothing else is accepted.

    Raises:
        BoardError: `bad-bundle`; blobs that came whole are kept, and what came of one that is large.
            `unknown-base`: a patch is for a blob that is not here. `missing-blobs`: it is the rest of what
            did not come.
    """

    def is_wanted(name: str, length: int) -> bool:
        part = Part.of(name)
        return part is not None and part.is_wanted(length, wanted)

    try:
        with Together() as small:
            for name, length, content in members(LimitedReader(stream, size), is_wanted):
                part = Part.of(name)
                assert part is not None  # noqa: S101 - it would not be wanted
                take_in(board, part, length, content, wanted[part.blob], small)
                checkpoint("receiving")
    finally:
        fsync_directory(board.blobs)
    drop_begun(board)


def take_in(board: Board, part: Part, length: int, content: BinaryIO, size: int, small: Together) -> None:
    """Keep the blob of `size` bytes that a member of `length` bytes brings."""
    path = None
    if part.start or length >= WORTH_KEEPING:
        with whole_or_bad_bundle():
            path = complete(board, part.digest, part.start, content)
        if part.base is None:
            os.chmod(path, 0o444)
            os.rename(path, board.blob(part.blob))
            return
        with open(path, "rb") as stream:
            data = stream.read()
    else:
        with whole_or_bad_bundle():
            data = content.read()
    if part.base is not None:
        data = patched(base_of(board, part.base), data, size)
    small.add(board.blob(part.blob), demand_digest(part.blob, data), 0o444)
    if path is not None:
        remove(path)


def base_of(board: Board, digest: str) -> bytes:
    """The bytes of a blob that is here.

    Raises:
        BoardError: `unknown-base`.
    """
    with contextlib.suppress(OSError):
        if os.path.getsize(board.blob(digest)) <= MOST:
            with open(board.blob(digest), "rb") as stream:
                data = stream.read()
            if hashlib.sha256(data).hexdigest() == digest:
                return data
    raise BoardError(
        "unknown-base", "a blob is told by what it changes of %s, which is not here" % digest[:9]
    )


def receive_members(
    stream: "LimitedReader", folder: str, digests: Mapping[str, str], sizes: Mapping[str, int]
) -> None:
    """Keep the members of a tar as files of `folder`; each is checked before it gets its name.

    Args:
        digests, sizes: of each file name; nothing else is accepted.

    Raises:
        BoardError: `bad-bundle`.
    """
    for name, _, content in members(stream, lambda name, length: sizes.get(name) == length):
        with whole_or_bad_bundle():
            data = content.read()
        if hashlib.sha256(data).hexdigest() != digests[name]:
            raise BoardError("bad-bundle", "%s arrived damaged" % name)
        replace_file(os.path.join(folder, name), data, 0o644)
    fsync_directory(folder)


def members(
    stream: "LimitedReader", is_expected: Callable[[str, int], bool]
) -> Iterator[Tuple[str, int, BinaryIO]]:
    """Name, length and content of each member of a tar, if it is expected by name and length.

    Raises:
        BoardError: `bad-bundle`.
    """
    with whole_or_bad_bundle(), tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            if not member.isreg() or not is_expected(member.name, member.size):
                raise BoardError(
                    "bad-bundle", "the bundle holds something that was not asked for: %.80r" % member.name
                )
            content: Any = tar.extractfile(member)
            yield member.name, member.size, content
    stream.drain()


@contextlib.contextmanager
def whole_or_bad_bundle() -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError):
        raise BoardError("bad-bundle", "the bundle is damaged or was cut short") from None


def demand_digest(digest: str, data: bytes) -> bytes:
    if hashlib.sha256(data).hexdigest() != digest:
        raise BoardError("bad-bundle", "blob %s arrived damaged" % digest[:12])
    return data


class LimitedReader(io.RawIOBase):
    """The next `size` bytes of a stream, and no more; waits `silence` seconds for each piece."""

    def __init__(self, stream: BinaryIO, size: int, silence: float = SILENCE_S) -> None:
        super().__init__()
        self._stream = stream
        self._left = size
        self._silence = silence

    def read(self, size: int = -1) -> bytes:
        """Raises `BoardError`, `bad-bundle`, where nothing more comes."""
        with alarm(self._silence):
            data = self._stream.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data

    def drain(self) -> None:
        while self._left and self.read(1 << 16):
            pass


class ReadAhead(io.BytesIO):
    """A small bundle, read before anybody waits for what is done with it: a slow line holds up nobody else.

    Where the line breaks off, what came is given all the same, and then the fault.
    """

    LIMIT = WORTH_KEEPING  # bytes; of one that is larger, what came reaches the disk at once

    def __init__(self, stream: BinaryIO, size: int, silence: float = SILENCE_S) -> None:
        super().__init__()
        self._fault: Optional[BoardError] = None
        reader = LimitedReader(stream, size, silence)
        try:
            for data in iter(lambda: reader.read(4096), b""):
                self.write(data)
        except BoardError as error:
            self._fault = error
        self.seek(0)

    def read(self, size: Optional[int] = -1) -> bytes:
        data = super().read(size)
        if self._fault and not data and size:
            raise self._fault
        return data


@contextlib.contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Give up what takes longer, a read that would wait for ever for one; in the main thread only."""

    def give_up(*_: object) -> None:
        raise BoardError("bad-bundle", "nothing of the bundle came for %g s" % seconds)

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
