"""Whether a board does what git says, how we know, and since when. Pure."""

from collections.abc import Collection, Iterable
from enum import StrEnum
from typing import Any

from msgspec import Struct

from fleetctl.manifest.schema import Accelerator, Board
from fleetctl.observation import Observed, Reach, latency_p95_ms, seconds_of
from fleetctl.untrusted import text

# Where a board is worth a look, not where it breaks: a Raspberry Pi throttles at 80-85 C, and a release with
# its predecessors and a snapshot needs tens of MiB.
HOT_C = 80.0
COOLED_C = 75.0  # where somebody was told that it is hot, it is so until it is cooler than this
LOW_DISK_BYTES = 64 << 20

HOT = "hot"


class Standing(StrEnum):
    """How a board stands, worst first: tables are sorted by this order."""

    WRONG = "wrong"  # it does not do what git says, or will not let itself be asked
    OFFLINE = "offline"  # nobody knows
    STRAINED = "strained"  # it does what git says, and something will stop it from doing so
    HEALTHY = "healthy"

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Standing).index(self)


class Source(StrEnum):
    """Who says so: how much what is told of a board is worth."""

    SERVICE = "service"  # the process that serves, about what it has in memory
    FILES = "files"  # the board, about what lies on its disk
    NOBODY = "nobody"


class BoardStatus(Struct, frozen=True):
    """One board held against git. `troubles` and `strains` are empty exactly where all is well."""

    board: str
    desired: str | None  # None: the lock does not say
    observed: Observed
    troubles: tuple[str, ...]  # it does not do what git says
    strains: tuple[str, ...] = ()  # it does, under conditions that a person should see to

    @property
    def standing(self) -> Standing:
        if self.observed.reach is Reach.OFFLINE:
            return Standing.OFFLINE
        if self.troubles:
            return Standing.WRONG
        return Standing.STRAINED if self.strains else Standing.HEALTHY

    @property
    def healthy(self) -> bool:
        return self.standing is Standing.HEALTHY

    @property
    def complaints(self) -> tuple[str, ...]:
        """Everything that speaks against the board, the worst first."""
        return self.troubles + self.strains

    @property
    def source(self) -> Source:
        if self.observed.reach is not Reach.REACHED:
            return Source.NOBODY
        return Source.SERVICE if self.observed.loaded else Source.FILES

    @property
    def serving_s(self) -> float | None:
        """Seconds since the serving process loaded what it has."""
        return self.observed.age(self.observed.loaded.since) if self.observed.loaded else None

    @property
    def last_outcome(self) -> str:
        """How the last activation ended, by the board's own receipt; names the release if it is another."""
        receipt = self.observed.receipt
        said = [receipt.get(key) for key in ("outcome", "state")]
        outcome = " ".join(text[:20] for text in said if isinstance(text, str))
        release = receipt.get("release")
        return f"{outcome} {release[:8]}" if isinstance(release, str) and not self._is_own_proof else outcome

    @property
    def proved_s(self) -> float | None:
        """Seconds since the loaded release last passed its proof; None where no receipt says that it did."""
        passed = self._is_own_proof and self.observed.receipt.get("outcome") == "passed"
        return self.observed.age(self.observed.receipt.get("time")) if passed else None

    @property
    def p95_ms(self) -> float | None:
        """The latency that the loaded release proved, in ms; None where the last proof was another's."""
        return latency_p95_ms(self.observed.receipt) if self._is_own_proof else None

    @property
    def _is_own_proof(self) -> bool:
        """Whether the last receipt is about what is loaded now."""
        loaded = self.observed.loaded
        return loaded is not None and self.observed.receipt.get("release") == loaded.release

    def to_json(self) -> dict[str, Any]:
        seen = self.observed
        return {
            "board": self.board,
            "healthy": self.healthy,
            "standing": self.standing.value,
            "troubles": list(self.complaints),
            "reach": seen.reach.value,
            "source": self.source.value,
            "desired": self.desired,
            "current": seen.current,
            "loaded": seen.loaded.release if seen.loaded else None,
            "model_sha256": seen.loaded.model_sha256 if seen.loaded else None,
            "accelerator": seen.loaded.accelerator if seen.loaded else None,
            "service": seen.service,
            "asked": seen.time or None,
            "since": seen.loaded.since if seen.loaded else None,
            "serving_s": self.serving_s,
            "proved_s": self.proved_s,
            "p95_ms": self.p95_ms,
            "temperature_c": seen.health.temperature_c,
            "throttled": seen.health.throttled,
            "disk_free_bytes": seen.health.disk_free_bytes,
            "memory_free_bytes": seen.health.memory_free_bytes,
            "last_outcome": self.last_outcome or None,
            "commit": text(seen.receipt.get("commit")) or None,
            "trusts": list(seen.trust.keys) if seen.trust else None,
            "serial": seen.trust.serial if seen.trust else None,
        }


def assess(
    board: Board,
    desired: str | None,
    seen: Observed,
    *,
    keys: Collection[str] | None = None,
    stranger: str = "",
) -> BoardStatus:
    """Hold one board against the release that git says it should run.

    Args:
        keys: fingerprints that git has boards trust; None where releases are not signed.
        stranger: why git does not know the release that it runs, where that is so.
    """
    unknown = [f"git does not know its release: {stranger}"] if stranger else []
    troubles = (*_troubles(board, desired, seen), *unknown)
    strains = (*_strains(seen), *_distrust(seen, keys)) if seen.reach is Reach.REACHED else ()
    return BoardStatus(board.name, desired, seen, troubles, strains)


def worst_first(statuses: Iterable[BoardStatus]) -> list[BoardStatus]:
    """Trouble first; among equals the order of the manifest."""
    return sorted(statuses, key=lambda status: status.standing.rank)


def proved_at(status: BoardStatus) -> float | None:
    """When the loaded release last passed its proof, in seconds since 1970 by the board's clock."""
    return None if status.proved_s is None else seconds_of(status.observed.receipt.get("time"))


def _troubles(board: Board, desired: str | None, seen: Observed) -> list[str]:
    if seen.reach is not Reach.REACHED:
        return [seen.error or seen.reach.value]
    if not seen.adopted:
        return ["runs nothing of ours"]
    return [*_release_troubles(desired, seen), *_service_troubles(board, seen)]


def _release_troubles(desired: str | None, seen: Observed) -> list[str]:
    troubles = []
    if desired is None:
        troubles.append("what git says is not known")
    elif seen.current != desired:
        troubles.append("runs another release than git says")
    if seen.pending:
        troubles.append("its release is on probation")
    elif seen.good != seen.current:
        troubles.append("its release was never confirmed")
    elif seen.repaired:
        troubles.append("its files or its interpreter changed since its service was started")
    return troubles


def _service_troubles(board: Board, seen: Observed) -> list[str]:
    if seen.service != "running":
        return [f"service is {seen.service}"]
    if seen.loaded is None:
        return ["service does not say what it has loaded"]
    troubles = []
    if seen.loaded.release != seen.current:
        troubles.append("service has another release loaded")
    if board.accelerator is Accelerator.REQUIRED and seen.loaded.accelerator != "edgetpu":
        troubles.append(f"runs on {seen.loaded.accelerator or 'nothing known'}, not on the Edge TPU")
    return troubles


def _distrust(seen: Observed, keys: Collection[str] | None) -> list[str]:
    """How the keys that a board trusts differ from those in git; the next bootstrap mends each."""
    if keys is None:
        return []
    if seen.trust is None:
        return ["trusts nobody, so takes any release: `fleetctl bootstrap` gives it keys"]
    strains = []
    if set(seen.trust.keys) - set(keys):
        strains.append("trusts a key that git does not: `fleetctl bootstrap` revokes it")
    if set(keys) - set(seen.trust.keys):
        strains.append("lacks a key of inventory/trust: `fleetctl bootstrap` gives it")
    return strains


def _strains(seen: Observed) -> list[str]:
    strains = []
    health = seen.health
    if health.throttled:
        strains.append("throttled: check power and cooling")
    strains.extend(heat(seen, HOT_C))
    if health.disk_free_bytes is not None and health.disk_free_bytes < LOW_DISK_BYTES:
        strains.append(f"disk almost full: {health.disk_free_bytes >> 20} MiB left")
    return strains


def heat(seen: Observed, limit: float) -> list[str]:
    """The strain of a board that is at `limit` degrees Celsius or more; none of any other."""
    degrees = seen.health.temperature_c
    return [f"{HOT}: {degrees:.0f} C"] if degrees is not None and degrees >= limit else []
