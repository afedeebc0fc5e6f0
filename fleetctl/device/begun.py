"""What came of a large blob, or patch, before the line broke: it is kept aside, and the rest continues it.

There is at most one: members of a bundle come one after the other. It lies in `blobs/begun` under the digest
that it will have, nobody takes it for a blob, and it becomes one only when all of it has that digest.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import BinaryIO, Dict

from .board_error import BoardError
from .durable import remove
from .files import names, sha256_file
from .layout import Board

WORTH_KEEPING = 256 << 10  # bytes; less is sent again
_STEP = 16 << 10  # bytes that reach the disk at once
_STALE_S = 7 * 24 * 3600.0


def begun(board: Board) -> Dict[str, int]:
    """Bytes by digest of what came; asked without a lock, it may be gone by then."""
    found = {}
    for name in names(board.begun):
        with contextlib.suppress(FileNotFoundError):
            found[name] = os.path.getsize(os.path.join(board.begun, name))
    return found


def drop_begun(board: Board, keep: str = "") -> None:
    for name in names(board.begun):
        if name != keep:
            remove(os.path.join(board.begun, name))


def drop_stale(board: Board) -> None:
    """Drop what nobody continued for a week, by a clock that may have been set meanwhile."""
    for name in names(board.begun):
        if abs(time.time() - os.path.getmtime(os.path.join(board.begun, name))) > _STALE_S:
            remove(os.path.join(board.begun, name))


def complete(board: Board, digest: str, start: int, rest: BinaryIO) -> str:
    """Write what comes behind the `start` bytes that came before; returns the path of the whole.

    Whatever `rest` raises, what came of it stays for the next time.

    Raises:
        BoardError: `missing-blobs`: so many did not come before; `bad-bundle`: the whole is not what its
            digest says, and is gone.
    """
    drop_begun(board, keep=digest)
    os.makedirs(board.begun, exist_ok=True)
    path = os.path.join(board.begun, digest)
    if start > begun(board).get(digest, 0):
        raise BoardError("missing-blobs", "what came of %s before is not here" % digest[:12])
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b") as stream:
        stream.truncate(start)
        stream.seek(start)
        append(stream, rest, path)
        os.fsync(stream.fileno())
    if sha256_file(path) != digest:
        remove(path)
        raise BoardError("bad-bundle", "%s arrived damaged" % digest[:12])
    return path


def append(stream: BinaryIO, rest: BinaryIO, path: str) -> None:
    """Write all of `rest` to the open file `path`, which is gone where the disk is full."""
    for data in iter(lambda: rest.read(_STEP), b""):
        try:
            stream.write(data)
            stream.flush()  # a process that is killed keeps what it had
        except OSError:  # a full disk needs the room
            remove(path)
            raise
