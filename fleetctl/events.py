"""What happens during a rollout, as frozen values. Workers emit; the journal and the report consume."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any


@dataclass(frozen=True, slots=True)
class RolloutStarted:
    fleet: str
    commit: str
    plan: str  # its digest
    boards: int


@dataclass(frozen=True, slots=True)
class WaveStarted:
    number: int
    name: str
    boards: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BoardSettled:
    """A board reached a verdict; a later one for the same board replaces it."""

    board: str
    verdict: str
    reasons: tuple[str, ...]
    release: str  # digest that was ordered
    p95_ms: float | None = None


@dataclass(frozen=True, slots=True)
class SoakStarted:
    number: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SoakResumed:
    """Boards that an earlier rollout released are watched for the rest of their soak; no `WaveStarted` is
    about them."""

    number: int
    name: str
    boards: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class GateDecided:
    number: int
    decision: str
    reason: str


@dataclass(frozen=True, slots=True)
class RolloutHeld:
    """Somebody paused it: no further wave opens until it is resumed."""

    by: str


@dataclass(frozen=True, slots=True)
class RolloutResumed:
    by: str


@dataclass(frozen=True, slots=True)
class RolloutAborted:
    by: str


@dataclass(frozen=True, slots=True)
class RevertStarted:
    boards: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class RolloutFinished:
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
    data = {key: value.value if isinstance(value, Enum) else value for key, value in asdict(event).items()}
    return {"event": type(event).__name__, **data}
