"""What a change would ask of an IoT Hub: room, calls, and minutes at its size. Pure.

Reckoned before anything is written, over all waves, so that a rollout does not end half-way for want of room.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from fleetctl.errors import OverQuota
from fleetctl.manifest.schema import Board, BoardKind, Fleet, IotHub, Via
from fleetctl.plan import Plan
from fleetctl.store import canonical_json

Sort = tuple[object, ...]


class HubCost(Struct, frozen=True):
    """Over all waves. `deployments` is how many there have to be at least."""

    boards: int
    deployments: int
    calls: int
    minutes: float
    hub: IotHub

    def to_json(self) -> dict[str, Any]:
        return {
            "boards": self.boards,
            "deployments": self.deployments,
            "calls": self.calls,
            "minutes": round(self.minutes, 2),
            "tier": self.hub.tier.value,
            "units": self.hub.units,
        }

    def refuse(self) -> None:
        """Raise `OverQuota` where a hub without any other deployment would still have no room."""
        from fleetctl.transports.iothub_quota import DEPLOYMENTS

        if (room := DEPLOYMENTS[self.hub.tier]) < self.deployments:
            raise OverQuota(
                f"this needs {self.deployments} deployments, and a hub ({self.hub.tier}) has room for {room}",
                hint="let boards differ less: all that get the same share one; or divide them between hubs",
            )


def hub_cost(plan: Plan, fleet: Fleet, configs: Mapping[str, Mapping[str, Any]]) -> HubCost | None:
    """What the boards `via: iothub` that a plan touches cost; None where there is none.

    Args:
        configs: each board's rendered config/serve.json. Boards that differ there, other than by their name,
            cannot share a deployment.
    """
    waves = [sorts for sorts in _waves(plan, fleet, configs) if sorts]
    if not waves:
        return None
    from fleetctl.transports.iothub_quota import Estimate, Hub, Need, estimate

    hub = Hub(fleet.iothub.tier, fleet.iothub.units)
    found: list[Estimate] = [estimate(Need(len(sorts), len(sorts), len(set(sorts))), hub) for sorts in waves]
    return HubCost(
        boards=sum(len(sorts) for sorts in waves),
        deployments=len({sort for sorts in waves for sort in sorts}),
        calls=sum(each.calls for each in found),
        minutes=sum(each.minutes for each in found),
        hub=fleet.iothub,
    )


def _waves(plan: Plan, fleet: Fleet, configs: Mapping[str, Mapping[str, Any]]) -> Iterator[list[Sort]]:
    """For each wave, of what sort each board is that a hub reaches."""
    for wave in plan.waves:
        boards = [fleet.boards[step.board] for step in wave.steps if step.action.touches]
        yield [_sort(board, configs.get(board.name, {})) for board in boards if board.via is Via.IOTHUB]


def _sort(board: Board, config: Mapping[str, Any]) -> Sort:
    """The same for two boards that may share a deployment."""
    machine = board.runtime.get("machine") or board.board is BoardKind.GENERIC
    settings = canonical_json({key: value for key, value in config.items() if key != "board"})
    return (board.model, board.variant, machine, board.board.has_edge_tpu, board.attached, settings)
