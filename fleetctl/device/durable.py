"""Writing so that a reader or a power cut, at any instant, finds the old bytes or the new."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from typing import Dict, Sequence


def fsync_directory(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


fsync_file = fsync_directory  # to the kernel it is all one


def atomic_write(path: str, data: bytes, mode: int = 0o644) -> None:
    """Replace `path` so that a reader or a power cut sees the old bytes or the new, never a mix."""
    replace_file(path, data, mode)
    fsync_directory(os.path.dirname(path))


def replace_file(path: str, data: bytes, mode: int) -> None:
    """As `atomic_write`, but the caller syncs the folder: once for many files, flash memory being slow."""
    aside = write_aside(path, data, mode, is_synced=True)
    rename_aside(aside, path)


def write_aside(path: str, data: bytes, mode: int, is_synced: bool) -> str:
    """Write what is to become `path` beside it; returns where."""
    # Not `tempfile`, which is slow to import on a board.
    aside = os.path.join(os.path.dirname(path), ".new.%d.%d" % (os.getpid(), time.monotonic_ns()))
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            os.fchmod(handle, mode)
            if is_synced:
                stream.flush()
                os.fsync(handle)
    except BaseException:
        remove(aside)
        raise
    return aside


def rename_aside(aside: str, path: str) -> None:
    try:
        os.rename(aside, path)
    except BaseException:
        remove(aside)
        raise


class Together:
    """Files that get their names together, once all of them are on the disk: a card takes as long to sync one
    as to sync a hundred. Used as a context; whatever ends it, what was added by then is kept.
    """

    MOST_BYTES = 1 << 20  # that wait for their names; a crash loses them

    def __init__(self) -> None:
        self._waiting: Dict[str, str] = {}
        self._bytes = 0

    def __enter__(self) -> Together:
        return self

    def __exit__(self, *_: object) -> None:
        self.settle()

    def add(self, path: str, data: bytes, mode: int) -> None:
        if path in self._waiting:
            return
        self._waiting[path] = write_aside(path, data, mode, is_synced=False)
        self._bytes += len(data)
        if self._bytes > self.MOST_BYTES:
            self.settle()

    def settle(self) -> None:
        """Sync what was added, name it, and sync the folders."""
        waiting, self._waiting, self._bytes = self._waiting, {}, 0
        sync_files(list(waiting.values()))
        for path, aside in waiting.items():
            rename_aside(aside, path)
        for folder in {os.path.dirname(path) for path in waiting}:
            fsync_directory(folder)


def sync_files(paths: Sequence[str]) -> None:
    """Have these files on the disk; where sync(2) waits for that, as on Linux, many by one call."""
    if len(paths) > 8 and sys.platform == "linux":
        os.sync()
        return
    for path in paths:
        fsync_file(path)


def swap_link(path: str, target: str) -> None:
    """Point the link `path` at `target` by one rename."""
    aside = "%s.new" % path
    remove(aside)
    os.symlink(target, aside)
    os.rename(aside, path)
    fsync_directory(os.path.dirname(path))


def remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def shorten(path: str, limit: int) -> None:
    """Keep the last half of a file that outgrew `limit` bytes."""
    with contextlib.suppress(FileNotFoundError):
        if os.path.getsize(path) > limit:
            with open(path, "rb") as stream:
                stream.seek(-limit // 2, os.SEEK_END)
                stream.readline()
                atomic_write(path, stream.read())


def is_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def free_bytes(path: str) -> int:
    disk = os.statvfs(path)
    return disk.f_frsize * (disk.f_bfree if os.geteuid() == 0 else disk.f_bavail)
