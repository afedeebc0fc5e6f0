"""Taking in the blobs that come along with a request."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from typing import BinaryIO, Iterator, Mapping, Tuple

from .board_error import BoardError
from .durable import fsync_directory, replace_file
from .layout import Board


def receive_blobs(board: Board, stream: BinaryIO, size: int, wanted: Mapping[str, int]) -> None:
    """Read `size` bytes of tar and keep its members; each is checked before it gets its name.

    Args:
        wanted: size by digest; nothing else is accepted.

    Raises:
        BoardError: `bad-bundle`; blobs that came whole are kept.
    """
    try:
        for digest, data in members(LimitedReader(stream, size), wanted):
            keep_blob(board, digest, data)
    finally:
        fsync_directory(board.blobs)


def receive_members(
    stream: LimitedReader, folder: str, digests: Mapping[str, str], sizes: Mapping[str, int]
) -> None:
    """Keep the members of a tar as files of `folder`; each is checked before it gets its name.

    Args:
        digests, sizes: of each file name; nothing else is accepted.

    Raises:
        BoardError: `bad-bundle`.
    """
    for name, data in members(stream, sizes):
        if hashlib.sha256(data).hexdigest() != digests[name]:
            raise BoardError("bad-bundle", "%s arrived damaged" % name)
        replace_file(os.path.join(folder, name), data, 0o644)
    fsync_directory(folder)


def members(stream: LimitedReader, sizes: Mapping[str, int]) -> Iterator[Tuple[str, bytes]]:
    """Name and content of each member of a tar, if its name and size are expected.

    Raises:
        BoardError: `bad-bundle`.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                if not member.isreg() or sizes.get(member.name) != member.size:
                    raise BoardError(
                        "bad-bundle", "the bundle holds something that was not asked for: %.80r" % member.name
                    )
                content = tar.extractfile(member)
                assert content is not None  # noqa: S101 - a regular member always has content
                yield member.name, content.read()
    except (tarfile.TarError, EOFError):
        raise BoardError("bad-bundle", "the bundle is damaged or was cut short") from None
    stream.drain()


def keep_blob(board: Board, digest: str, data: bytes) -> None:
    if hashlib.sha256(data).hexdigest() != digest:
        raise BoardError("bad-bundle", "blob %s arrived damaged" % digest[:12])
    replace_file(board.blob(digest), data, 0o444)


class LimitedReader(io.RawIOBase):
    """The next `size` bytes of a stream, and no more."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        super().__init__()
        self._stream = stream
        self._left = size

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data

    def drain(self) -> None:
        while self._left and self.read(1 << 16):
            pass
