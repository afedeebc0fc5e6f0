"""What a change would ask of an IoT Hub: calls, and the minutes that its rates make them take. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fleetctl.manifest.schema import Fleet, Via
from fleetctl.plan import Plan


@dataclass(frozen=True, slots=True)
class HubCost:
    """Over all waves, for a hub of one S1 unit: the smallest that takes a fleet."""

    boards: int
    calls: int
    minutes: float

    def to_json(self) -> dict[str, Any]:
        return {"boards": self.boards, "calls": self.calls, "minutes": round(self.minutes, 2)}


def hub_cost(plan: Plan, fleet: Fleet) -> HubCost | None:
    """What the boards `via: iothub` of a plan cost; None where there is none.

    Boards of one kind with one variant of a model are reckoned to share a deployment.
    """
    from fleetctl.transports.iothub_quota import Estimate, Hub, Need, estimate

    counts = [(boards, sorts) for boards, sorts in _waves(plan, fleet) if boards]
    if not counts:
        return None
    found: list[Estimate] = [estimate(Need(boards, boards, sorts), Hub()) for boards, sorts in counts]
    return HubCost(
        boards=sum(boards for boards, _ in counts),
        calls=sum(each.calls for each in found),
        minutes=sum(each.minutes for each in found),
    )


def _waves(plan: Plan, fleet: Fleet) -> Iterator[tuple[int, int]]:
    """For each wave, how many boards a hub reaches, and of how many sorts they are."""
    for wave in plan.waves:
        boards = [fleet.boards[step.board] for step in wave.steps]
        reached = [board for board in boards if board.via is Via.IOTHUB]
        yield len(reached), len({(board.board, board.model, board.variant) for board in reached})
