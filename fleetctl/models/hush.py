"""Silence for native libraries that write to the terminal by themselves, below Python's reach."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def hushed() -> Iterator[None]:
    """Send file descriptors 1 and 2 elsewhere meanwhile: converter and XNNPACK print notes nobody asked for.

    Failures are not lost: both libraries report them as exceptions, which pass through.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    try:
        # Not a file: where the disk is full, LLVM ends the whole process because it cannot write its notes.
        with Path(os.devnull).open("wb") as sink:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
            yield
    finally:
        for number, copy in enumerate(kept, start=1):
            os.dup2(copy, number)
            os.close(copy)
