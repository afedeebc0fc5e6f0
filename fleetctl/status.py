"""Whether a board does what git says, and everything that speaks against it. Pure."""

from dataclasses import dataclass
from typing import Any

from fleetctl.manifest.schema import Accelerator, Board
from fleetctl.observation import Observed, Reach, latency_p95_ms

# Where a board is worth a look, not where it breaks: a Raspberry Pi throttles at 80-85 C, and a release with
# its predecessors and a snapshot needs tens of MiB.
_HOT_C = 80.0
_LOW_DISK_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class BoardStatus:
    """One board held against git. `troubles` is empty exactly where all is well."""

    board: str
    desired: str | None  # None: the lock does not say
    observed: Observed
    troubles: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        return not self.troubles

    @property
    def last_outcome(self) -> str:
        """How the last activation ended, by the board's own receipt; names the release if it is another."""
        receipt, loaded = self.observed.receipt, self.observed.loaded
        said = [receipt.get(key) for key in ("outcome", "state")]
        outcome = " ".join(text[:20] for text in said if isinstance(text, str))
        release = receipt.get("release")
        other = isinstance(release, str) and (loaded is None or loaded.release != release)
        return f"{outcome} {release[:8]}" if other and isinstance(release, str) else outcome

    @property
    def p95_ms(self) -> float | None:
        """The latency that the loaded release proved, in ms; None where the last proof was another's."""
        receipt, loaded = self.observed.receipt, self.observed.loaded
        about_this = loaded is not None and receipt.get("release") == loaded.release
        return latency_p95_ms(receipt) if about_this else None

    def to_json(self) -> dict[str, Any]:
        seen = self.observed
        return {
            "board": self.board,
            "healthy": self.healthy,
            "troubles": list(self.troubles),
            "reach": seen.reach.value,
            "desired": self.desired,
            "current": seen.current,
            "loaded": seen.loaded.release if seen.loaded else None,
            "model_sha256": seen.loaded.model_sha256 if seen.loaded else None,
            "accelerator": seen.loaded.accelerator if seen.loaded else None,
            "service": seen.service,
            "since": seen.loaded.since if seen.loaded else None,
            "p95_ms": self.p95_ms,
            "temperature_c": seen.health.temperature_c,
            "throttled": seen.health.throttled,
            "disk_free_bytes": seen.health.disk_free_bytes,
            "memory_free_bytes": seen.health.memory_free_bytes,
            "last_outcome": self.last_outcome or None,
            "commit": seen.receipt.get("commit"),
        }


def assess(board: Board, desired: str | None, seen: Observed) -> BoardStatus:
    """Hold one board against the release that git says it should run."""
    return BoardStatus(board.name, desired, seen, tuple(_troubles(board, desired, seen)))


def _troubles(board: Board, desired: str | None, seen: Observed) -> list[str]:
    if seen.reach is not Reach.REACHED:
        return [seen.error or seen.reach.value]
    if not seen.adopted:
        return ["runs nothing of ours"]
    return [*_release_troubles(desired, seen), *_service_troubles(board, seen), *_health_troubles(seen)]


def _release_troubles(desired: str | None, seen: Observed) -> list[str]:
    troubles = []
    if desired is not None and seen.current != desired:
        troubles.append("runs another release than git says")
    if seen.pending:
        troubles.append("its release is on probation")
    elif seen.good != seen.current:
        troubles.append("its release was never confirmed")
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


def _health_troubles(seen: Observed) -> list[str]:
    troubles = []
    health = seen.health
    if health.throttled:
        troubles.append("throttled: check power and cooling")
    if health.temperature_c is not None and health.temperature_c >= _HOT_C:
        troubles.append(f"hot: {health.temperature_c:.0f} C")
    if health.disk_free_bytes is not None and health.disk_free_bytes < _LOW_DISK_BYTES:
        troubles.append(f"disk almost full: {health.disk_free_bytes >> 20} MiB left")
    return troubles
