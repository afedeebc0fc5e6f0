"""What a rollout would ask of a hub, reckoned before anything is written: room, calls, and minutes. Pure.

The rates are those that Microsoft publishes for one unit of each tier.
"""

import math
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from fleetctl.errors import OverQuota
from fleetctl.transports.iothub_client import BULK, PAGE
from fleetctl.transports.iothub_twin import PROPERTIES_LIMIT, faults, twin_size

DEPLOYMENTS = {"F1": 10, "S1": 100, "S2": 100, "S3": 100}
_QUERIES_A_MINUTE = {"F1": 20, "S1": 20, "S2": 20, "S3": 1000}  # a unit
_DEPLOYMENT_CALLS_A_MINUTE = 20
_REGISTRY_CALLS_A_MINUTE = 100
_NAMES_A_QUERY = 300  # about as many as fit
_POLLS = 12  # of a wave


class Hub(Struct, frozen=True):
    """How large a hub is, and how many deployments it has that are not ours to collect."""

    tier: str = "S1"
    units: int = 1
    deployments: int = 0


class Need(Struct, frozen=True):
    """What a wave asks of it."""

    boards: int
    tagged: int  # boards whose tags differ
    deployments: int  # to create
    contents: tuple[Mapping[str, Any], ...] = ()  # modulesContent of each


class Estimate(Struct, frozen=True):
    """Calls of each kind, and how long the hub makes them take at least."""

    queries: int
    deployment_calls: int
    tag_calls: int
    minutes: float

    @property
    def calls(self) -> int:
        return self.queries + self.deployment_calls + self.tag_calls


def estimate(need: Need, hub: Hub) -> Estimate:
    """What carrying out `need` costs."""
    reads = 2 * math.ceil(need.boards / min(_NAMES_A_QUERY, PAGE)) if need.boards else 0
    queries = 2 * reads + _POLLS
    deployment_calls = 1 + need.deployments
    tag_calls = math.ceil(need.tagged / BULK)
    minutes = max(
        queries / (_QUERIES_A_MINUTE[hub.tier] * hub.units),
        deployment_calls / (_DEPLOYMENT_CALLS_A_MINUTE * hub.units),
        tag_calls / (_REGISTRY_CALLS_A_MINUTE * hub.units),
    )
    return Estimate(queries, deployment_calls, tag_calls, minutes)


def check(need: Need, hub: Hub) -> None:
    """Raise `OverQuota` for what the hub could never take; nothing has been written by then."""
    room = DEPLOYMENTS[hub.tier] - hub.deployments
    if need.deployments > room:
        raise OverQuota(
            f"the wave needs {need.deployments} deployments, and the hub ({hub.tier}) has room for {room}",
            hint="delete deployments, or let boards differ less: one deployment serves all that get the same",
        )
    for content in need.contents:
        _check_content(content)


def _check_content(content: Mapping[str, Any]) -> None:
    for module, sections in content.items():
        for value in sections.values():
            size = twin_size(value)
            if size > PROPERTIES_LIMIT:
                raise OverQuota(
                    f"the twin of {module} would have {size:,} bytes; a hub takes {PROPERTIES_LIMIT:,}",
                    hint="shorten the templates in inventory/templates, or the boards' labels",
                )
            if fault := next(faults(value), ""):
                raise OverQuota(f"a hub would not take the twin of {module}: {fault}")
