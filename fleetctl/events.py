"""What happens during a rollout, as frozen values. Workers emit; the journal and the report consume."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct, to_builtins


class RolloutStarted(Struct, frozen=True):
    fleet: str
    commit: str
    plan: str  # its digest
    boards: int


class WaveStarted(Struct, frozen=True):
    number: int
    name: str
    boards: tuple[str, ...]


class BoardSettled(Struct, frozen=True):
    """A board reached a verdict; a later one for the same board replaces it."""

    board: str
    verdict: str
    reasons: tuple[str, ...]
    release: str  # digest that was ordered
    p95_ms: float | None = None


class SoakStarted(Struct, frozen=True):
    number: int
    seconds: float


class SoakResumed(Struct, frozen=True):
    """Boards that an earlier rollout released are watched for the rest of their soak; no `WaveStarted` is
    about them."""

    number: int
    name: str
    boards: tuple[str, ...]
    seconds: float


class GateDecided(Struct, frozen=True):
    number: int
    decision: str
    reason: str


class RolloutHeld(Struct, frozen=True):
    """Somebody paused it: no further wave opens until it is resumed."""

    by: str


class RolloutResumed(Struct, frozen=True):
    by: str


class RolloutAborted(Struct, frozen=True):
    by: str


class RevertStarted(Struct, frozen=True):
    boards: tuple[str, ...]
    reason: str


class RolloutFinished(Struct, frozen=True):
    outcome: str
    verdicts: dict[str, int]


Steered = RolloutHeld | RolloutResumed | RolloutAborted  # by a person, from elsewhere
Event = (
    RolloutStarted
    | WaveStarted
    | BoardSettled
    | SoakStarted
    | SoakResumed
    | GateDecided
    | Steered
    | RevertStarted
    | RolloutFinished
)
Emit = Callable[[Event], None]


def event_json(event: Event) -> dict[str, Any]:
    """An event as plain data, named by its type."""
    return {"event": type(event).__name__, **to_builtins(event)}
