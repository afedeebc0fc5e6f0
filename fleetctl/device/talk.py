"""What a verb or the watcher says on the way: to a log, never in a reply."""

from __future__ import annotations

import sys

from .clock import utc


def say(text: str) -> None:
    sys.stdout.write("%s %s\n" % (utc(), text))
    sys.stdout.flush()


def complain(text: str) -> None:
    sys.stderr.write("%s %s\n" % (utc(), text))
    sys.stderr.flush()
