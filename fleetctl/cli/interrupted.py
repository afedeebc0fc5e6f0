"""What a verb says when it is cut short: whoever is in a hurry still has to know what became of the work."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def told_if_interrupted(what_is_so: str) -> Iterator[None]:
    """Say it on Ctrl-C, and where the process is told to end."""
    from fleetctl.report.console import talk

    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        talk.warn(f"interrupted: {what_is_so}")
        raise
