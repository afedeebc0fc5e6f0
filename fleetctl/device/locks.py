"""Locks that the kernel lets go of, however their holder ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import Iterator

from .board_error import BoardError
from .clock import POLL_S, utc
from .layout import Board


@contextlib.contextmanager
def locked(board: Board, verb: str, wait: float) -> Iterator[None]:
    """Hold `state/lock`; whoever holds it is named in it.

    Raises:
        BoardError: `busy`, when it is still held after `wait` seconds.
    """
    board.make_folders()
    handle = os.open(board.in_state("lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        give_up = time.monotonic() + wait
        while not try_flock(handle):
            if time.monotonic() > give_up:
                holder = os.pread(handle, 200, 0).decode("utf-8", "replace").strip()
                raise BoardError("busy", "another verb is at work on this board: %s" % (holder or "unknown"))
            time.sleep(POLL_S)
        with contextlib.suppress(OSError):  # a full disk: nameless, it is held all the same
            os.ftruncate(handle, 0)
            os.pwrite(handle, ("%s, pid %d, since %s\n" % (verb, os.getpid(), utc())).encode(), 0)
        yield
    finally:
        os.close(handle)


def try_flock(handle: int, how: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_flocked(path: str) -> bool:
    """True while a process holds the lock on `path`: the kernel lets go of it however that process ends."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not try_flock(handle, fcntl.LOCK_SH)  # shared: others who look are no holders
    finally:
        os.close(handle)
