"""Writing so that a reader or a power cut, at any instant, finds the old bytes or the new."""

from __future__ import annotations

import contextlib
import errno
import os
import time


def fsync_directory(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def atomic_write(path: str, data: bytes, mode: int = 0o644) -> None:
    """Replace `path` so that a reader or a power cut sees the old bytes or the new, never a mix."""
    replace_file(path, data, mode)
    fsync_directory(os.path.dirname(path))


def replace_file(path: str, data: bytes, mode: int) -> None:
    """As `atomic_write`, but the caller syncs the folder: once for many files, flash memory being slow."""
    folder = os.path.dirname(path)
    # Not `tempfile`, which is slow to import on a board.
    aside = os.path.join(folder, ".new.%d.%d" % (os.getpid(), time.monotonic_ns()))
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(aside, mode)
        os.rename(aside, path)
    except BaseException:
        remove(aside)
        raise


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
