"""What a hub allows: how many deployments, and how many calls of each kind in a stretch of time."""

import time
from collections.abc import Callable, Mapping
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from fleetctl.lab.iothub.refusal import THROTTLED, HubRefusal

Clock = Callable[[], float]  # seconds since the epoch


class Operation(StrEnum):
    """Kinds of calls that are counted apart."""

    TWIN_WRITE = "twin writes"
    TWIN_READ = "twin reads"
    QUERY = "queries"
    DEPLOYMENT = "deployment operations"
    REGISTRY = "registry operations"
    METHOD = "direct methods"


class Rate(Struct, frozen=True):
    """So many calls in so many seconds."""

    calls: float
    seconds: float


class Tier(Struct, frozen=True):
    """What one unit of a hub allows."""

    deployments: int
    identities: int
    rates: Mapping[Operation, Rate]

    def times(self, units: int) -> "Tier":
        """The same with so many units."""
        grown = {kind: replace(rate, calls=rate.calls * units) for kind, rate in self.rates.items()}
        return replace(self, rates=grown)


def _rates(writes: float, reads: float, queries: float, methods: float) -> Mapping[Operation, Rate]:
    return {
        Operation.TWIN_WRITE: Rate(writes, 1),
        Operation.TWIN_READ: Rate(reads, 1),
        Operation.QUERY: Rate(queries, 60),
        Operation.DEPLOYMENT: Rate(20, 60),
        Operation.REGISTRY: Rate(100, 60),
        Operation.METHOD: Rate(methods, 1),
    }


TIERS: Mapping[str, Tier] = {
    "F1": Tier(10, 500, _rates(50, 100, 20, 40)),
    "S1": Tier(100, 1_000_000, _rates(50, 100, 20, 40)),
    "S2": Tier(100, 1_000_000, _rates(50, 100, 20, 120)),
    "S3": Tier(100, 1_000_000, _rates(250, 500, 1000, 600)),
}


class Meter:
    """Counts calls against a tier: a bucket for each kind, as deep as what one stretch of time allows."""

    def __init__(self, tier: Tier, clock: Clock = time.time) -> None:
        self.tier = tier
        self._clock = clock
        self._levels: dict[Operation, tuple[float, float]] = {}  # calls left, as of when
        self.counts: dict[Operation, int] = dict.fromkeys(Operation, 0)
        self.throttled = 0

    def spend(self, kind: Operation) -> None:
        """Count a call.

        Raises:
            HubRefusal: there were too many; it says when to come back.
        """
        rate, now = self.tier.rates[kind], self._clock()
        left, since = self._levels.get(kind, (rate.calls, now))
        left = min(rate.calls, left + max(0.0, now - since) * rate.calls / rate.seconds)
        if left < 1:
            self._levels[kind] = (left, now)
            self.throttled += 1
            raise throttled(
                f"over {rate.calls:g} {kind} in {rate.seconds:g} s", (1 - left) * rate.seconds / rate.calls
            )
        self._levels[kind] = (left - 1, now)
        self.counts[kind] += 1


def throttled(why: str, retry_after: float) -> HubRefusal:
    """The refusal of a call too many."""
    return HubRefusal(429, THROTTLED, why, retry_after=retry_after)
