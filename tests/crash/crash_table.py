"""What was tried, what survived, and how long it took: the table that the documents show."""

import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TypeVar

from board_crashes import Case

AT_ONCE = 6  # boards at work at once: more would only wait for a processor

Attempt = Callable[[str], Case]
T = TypeVar("T")


def on_free_boards(boards: Sequence[str], attempts: Sequence[Callable[[str], T]]) -> list[T]:
    """What each attempt gives, made on whichever board is free."""
    free: SimpleQueue[str] = SimpleQueue()
    for board in boards:
        free.put(board)

    def attempt(on: Callable[[str], T]) -> T:
        board = free.get()
        try:
            return on(board)
        finally:
            free.put(board)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(attempt, attempts))


@dataclass
class Table:
    """Cases by fault, in the order they were first tried."""

    cases: list[Case] = field(default_factory=list)

    def run(self, boards: Sequence[str], attempts: Sequence[Attempt]) -> None:
        """Make each attempt on whichever board is free, and demand that every board survived."""

        def noted(attempt: Attempt) -> Callable[[str], Case]:
            return lambda board: self._note(attempt(board))

        self._demand(on_free_boards(boards, [noted(attempt) for attempt in attempts]))

    def _note(self, case: Case) -> Case:
        """At once: a suite that is interrupted after half an hour still has a table of what it tried."""
        self.cases.append(case)
        return case

    def add(self, cases: Sequence[Case]) -> None:
        """Take in what was tried, and demand that every board survived."""
        self.cases += cases
        self._demand(cases)

    @staticmethod
    def _demand(cases: Sequence[Case]) -> None:
        lost = [case for case in cases if not case.survived]
        if not cases or lost:
            raise AssertionError("nothing was tried" if not cases else "\n".join(map(str, lost)))

    def markdown(self) -> str:
        """One line for each fault; seconds count from the fault until a whole release serves again."""
        lines = ["| fault | tried | survived | seconds to recover: median | worst |", "|---|---|---|---|---|"]
        for fault in dict.fromkeys(case.fault for case in self.cases):
            cases = [case for case in self.cases if case.fault == fault]
            seconds = [case.seconds for case in cases]
            survived = sum(case.survived for case in cases)
            lines.append(
                f"| {fault} | {len(cases)} | {survived} "
                f"| {statistics.median(seconds):.1f} | {max(seconds):.1f} |"
            )
        return "\n".join(lines)
