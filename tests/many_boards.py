"""Fleets of any size with what their boards say, without boards and without a disk."""

from pathlib import Path

from fleetctl.manifest.schema import Board, BoardKind, Fleet, RolloutPolicy, VariantName, Wave
from fleetctl.observation import Loaded, Observed, Reach
from fleetctl.status import BoardStatus, assess

NEW = "a" * 64


def fleet_of(count: int, sites: int = 3) -> Fleet:
    boards = {
        f"b{n:05d}": Board(
            f"b{n:05d}",
            BoardKind.RASPBERRYPI4,
            "reader",
            VariantName.INT8,
            host="h",
            labels={"site": f"site-{n % sites}"},
        )
        for n in range(count)
    }
    waves = (Wave(group="canary"), Wave(fraction=0.5), Wave(fraction=1.0))
    return Fleet("unas", Path("f"), {}, {"canary": ("b00000",)}, boards, RolloutPolicy(waves), "0" * 64)


def well(board: Board) -> BoardStatus:
    seen = Observed(board.name, current=NEW, good=NEW, service="running", loaded=Loaded(NEW, NEW, "cpu"))
    return assess(board, NEW, seen)


def statuses(fleet: Fleet, wrong: int = 0) -> list[BoardStatus]:
    """All boards well but the first `wrong`, which are offline."""
    return [
        assess(board, NEW, Observed(board.name, Reach.OFFLINE, "away")) if n < wrong else well(board)
        for n, board in enumerate(fleet.boards.values())
    ]
