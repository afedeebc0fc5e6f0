"""Has the C library give back the memory of large pictures.

glibc keeps it for the thread that freed it, and every connection is a thread: in the end they keep a picture
each, while the unit's limit is for all of them together.
"""

from __future__ import annotations

import contextlib
import ctypes

_LARGE = 4 << 20  # bytes
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h


def give_memory_back() -> None:
    """To be called before there are threads. Other C libraries have no such settings, and need none."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
        mallopt(_M_TRIM_THRESHOLD, 2 * _LARGE)
        mallopt(_M_ARENA_MAX, 2)
