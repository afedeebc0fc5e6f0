"""Status over time: a terminal is redrawn in place, a log gets a line for each board that changed."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType

from fleetctl.observation import Reach
from fleetctl.report.console import emit_text, on_one_line
from fleetctl.report.screen import Screen, can_redraw, print_coloured
from fleetctl.report.status import MARKS
from fleetctl.status import BoardStatus


class TerminalWatch(AbstractContextManager["TerminalWatch"]):
    """Draws each round in place of the one before, with the time of asking below; the last one stays."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._screen = Screen()
        self._last = ""

    def __enter__(self) -> "TerminalWatch":
        self._screen.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._screen.__exit__(kind, error, trace)
        if self._last:
            print_coloured(self._last)

    def show(self, statuses: Sequence[BoardStatus], text: str) -> None:  # noqa: ARG002 - the text says it all
        self._last, asked = text, f"asked at {_clock()}, every {self._every:g} s; Ctrl-C ends"
        self._screen.draw(lambda: f"{text}\n{asked}", at_once=True)


class LogWatch(AbstractContextManager["LogWatch"]):
    """Prints the first round whole; of later ones a line for each board whose state is another."""

    def __init__(self, print_line: Callable[[str], None] = emit_text) -> None:
        self._print = print_line
        self._before: Mapping[str, str] | None = None

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, statuses: Sequence[BoardStatus], text: str) -> None:
        now = {status.board: _state(status) for status in statuses}
        if self._before is None:
            self._print(text)
        else:
            for line in _changes(self._before, now):
                self._print(f"{_clock()} {line}")
        self._before = now


def watch_for(every: float) -> TerminalWatch | LogWatch:
    """What suits standard output."""
    return TerminalWatch(every) if can_redraw() else LogWatch()


def _state(status: BoardStatus) -> str:
    seen, words = status.observed, "; ".join(status.complaints) or "does what git says"
    if seen.reach is Reach.REACHED:
        words = f"{seen.loaded.release[:8] if seen.loaded else 'nothing'} loaded, {words}"
    return on_one_line(f"{MARKS[status.standing].strip()} {status.board}: {words}")


def _changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The boards that changed, as they are now; those that left the fleet last."""
    changed = [state for board, state in now.items() if before.get(board) != state]
    return changed + [f"   {board}: no longer asked" for board in before if board not in now]


def _clock() -> str:
    return time.strftime("%H:%M:%S")
