"""What a verb, the watcher or the service says on the way: to a log, never in a reply.

Nothing is given up because it could not be said: logs lie on disks that are full, and whoever listened at
the other end of a line may be gone.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TextIO

from .clock import utc


def say(text: str) -> None:
    tell(sys.stdout, "%s %s" % (utc(), text))


def complain(text: str) -> None:
    tell(sys.stderr, "%s %s" % (utc(), text))


def tell(stream: TextIO, line: str) -> None:
    """A line as it is, without a time: systemd's journal has one of its own."""
    with contextlib.suppress(OSError):
        stream.write(line + "\n")
        stream.flush()
