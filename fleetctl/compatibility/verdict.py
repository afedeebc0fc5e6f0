"""The verdict on boards of a fleet: by the manifest alone, by the lock, and by what boards reported."""

from collections.abc import Mapping
from typing import Any

from fleetctl.compatibility.offer import Reported, offer_of
from fleetctl.compatibility.requirements import Requirements
from fleetctl.compatibility.rules import Refusal, judge
from fleetctl.errors import Incompatible
from fleetctl.listed import listed
from fleetctl.manifest.schema import Board, Fleet

Refusals = tuple[Refusal, ...]


class Judge:
    """Judges boards and remembers: a fleet of thousands has a few dozen sorts of board."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], Refusals] = {}
        self._told: dict[tuple[Any, ...], Refusals] = {}

    def refusals(self, needs: Requirements, board: Board, reported: Reported | None = None) -> Refusals:
        """What speaks against loading a model with `needs` on a board, as far as is known of it."""
        runtime = tuple(sorted(board.runtime.items())) if board.runtime else ()
        sort = needs, board.board, board.attached, runtime, board.python, board.accelerator, reported
        if sort not in self._known:
            self._known[sort] = judge(needs, offer_of(board, reported), board.accelerator)
        return self._known[sort]

    def told(self, board: Board) -> Refusals:
        """What speaks against a board's settings, whatever is built."""
        if board.runtime:
            return self.refusals(Requirements.of_variant(board.variant), board)
        # Most boards name no versions: then what `refusals` remembers them by need not be made.
        sort = board.variant, board.board, board.attached, board.python, board.accelerator
        if sort not in self._told:
            self._told[sort] = self.refusals(Requirements.of_variant(board.variant), board)
        return self._told[sort]


def demand_compatible(fleet: Fleet, needs: Mapping[str, Mapping[str, Requirements]]) -> None:
    """Hold what was built against every board that is to run it, as its kind and the manifest describe it.

    `needs` holds requirements by model and variant; a board whose variant is not in it is not looked at.

    Raises:
        Incompatible: naming the boards, what each needs and has, and the fix.
    """
    judge_ = Judge()
    wanted = ((board, needs.get(board.model, {}).get(board.variant)) for board in fleet.boards.values())
    found = {board.name: judge_.refusals(need, board) for board, need in wanted if need is not None}
    refuse({name: refusals for name, refusals in found.items() if refusals}, "nothing was locked")


def refuse(refused: Mapping[str, Refusals], what_stays: str) -> None:
    """Raise `Incompatible` for boards with what speaks against each; do nothing where there are none.

    Raises:
        Incompatible: boards that are alike told together, with every fix in the hint.
    """
    if not refused:
        return
    alike: dict[str, list[str]] = {}
    for board, refusals in refused.items():
        alike.setdefault(" and ".join(map(str, refusals)), []).append(board)
    said = "; ".join(f"{listed(boards, 3)}: {why}" for why, boards in alike.items())
    fixes = dict.fromkeys(refusal.fix for refusals in refused.values() for refusal in refusals)
    raise Incompatible(f"{said}; {what_stays}", hint="; ".join(fixes))
