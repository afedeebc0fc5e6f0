"""A result that is drawn anew while it grows, where the terminal can; elsewhere it is printed once, whole."""

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from fleetctl.report.github import defused

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

_SOONEST = 0.25  # seconds between two drawings
_COLOURS = {"!!": "bold red", "??": "yellow", " !": "yellow", "ok": "green"}


def can_redraw() -> bool:
    """Whether standard output is a terminal that can move its cursor."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class Screen:
    """`draw` shows what is known so far, at most four times a second; nothing of it stays after `with`."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._drawn = 0.0

    def __enter__(self) -> "Screen":
        if can_redraw():
            from rich.console import Console
            from rich.live import Live

            console = Console(highlight=False)
            self._live = Live(console=console, transient=True, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def draw(self, text: Callable[[], str], *, at_once: bool = False) -> None:
        """Show `text()` in place of what was shown; called only when it is going to be seen."""
        if self._live and (at_once or time.monotonic() - self._drawn >= _SOONEST):
            self._live.update(coloured(text()), refresh=True)
            self._drawn = time.monotonic()


def print_coloured(text: str) -> None:
    """Print a result; its marks in colour where that is wanted and shows."""
    if not can_redraw() or os.environ.get("NO_COLOR"):
        print(defused(text), flush=True)
        return
    from rich.console import Console

    Console(highlight=False, soft_wrap=True).print(coloured(text))


def coloured(text: str) -> "Text":
    """`text` with the mark that opens a line in its colour, unless `NO_COLOR` is set."""
    from rich.text import Text

    lines = []
    for line in text.split("\n"):
        colour = "" if os.environ.get("NO_COLOR") else _COLOURS.get(line[:2], "")
        lines.append(Text.assemble((line[:2], colour), line[2:]) if colour else Text(line))
    return Text("\n").join(lines)
