"""What is wrong with one board, and what to do about each thing. Pure: facts in, findings out."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct

from fleetctl.examination import Examination
from fleetctl.manifest.schema import Accelerator, Board
from fleetctl.observation import Observed
from fleetctl.smoke import Outcome
from fleetctl.status import HOT_C, LOW_DISK_BYTES, BoardStatus

_WARM_C = 70.0  # a Raspberry Pi begins to throttle at 80
_TPU_HOT_C = 85.0  # where the Edge TPU's driver begins to slow it down
_UNDER_VOLTAGE, _CAPPED, _THROTTLED, _SOFT_LIMIT = 0x1, 0x2, 0x4, 0x8  # the same shifted by 16: since boot
_SINCE_BOOT = 16
_WEAK_DBM = -75.0
_SKEW_WARN_S, _SKEW_BAD_S = 30.0, 300.0


class Grade(StrEnum):
    """How one check ended, worst first."""

    BAD = "bad"
    WARN = "warn"
    UNKNOWN = "unknown"  # the board cannot tell
    GOOD = "good"


class Remedy(StrEnum):
    """The ladder for an accelerator that no longer answers, from the mildest rung up."""

    RESTART_SERVICE = "restart-service"
    RESET_USB = "reset-usb"
    REBOOT = "reboot"


class Finding(Struct, frozen=True):
    """One check: what was seen, and what to do where that is not good."""

    check: str
    grade: Grade
    seen: str
    advice: str = ""
    remedies: tuple[Remedy, ...] = ()  # of the ladder, in the order in which to try them

    def to_json(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "grade": self.grade.value,
            "seen": self.seen,
            "advice": self.advice or None,
            "remedies": [remedy.value for remedy in self.remedies],
        }


class Proof(Struct, frozen=True):
    """What the golden samples showed just now; `outcome` is None where they could not be asked."""

    outcome: Outcome | None
    reasons: tuple[str, ...] = ()
    p95_ms: float | None = None


def diagnose(
    board: Board,
    status: BoardStatus,
    found: Examination,
    proof: Proof,
    *,
    refusals: Sequence[str],
    now: float,
) -> tuple[Finding, ...]:
    """Every check of one board that answered, in a fixed order.

    Args:
        status: the board held against git.
        proof: what its service answered to the golden samples just now.
        refusals: why it could not load the release that git says, if so; each with what to do.
        now: seconds since 1970 by a clock that is trusted.
    """
    return (
        _power(found),
        _temperature(found),
        _disk(found),
        _memory(found),
        _load(found),
        _clock(found, now),
        _network(found),
        _service(status, found),
        _accelerator(board, status.observed, found, proof),
        _runtime(found, refusals),
        _release(status),
        _answers(proof),
    )


def _power(found: Examination) -> Finding:
    flags = found.throttled_flags
    if flags is None:
        return Finding("power", Grade.UNKNOWN, "this board has no sensor for it")
    advice = (
        "use the supply made for this board and a short, thick cable; take USB devices off or power a hub"
    )
    if flags & _UNDER_VOLTAGE:
        return Finding("power", Grade.BAD, "under-voltage now", advice)
    before = flags >> _SINCE_BOOT
    if before & _UNDER_VOLTAGE:
        return Finding("power", Grade.WARN, "under-voltage since boot", advice)
    return Finding("power", Grade.GOOD, "no under-voltage since boot")


def _temperature(found: Examination) -> Finding:
    flags = found.throttled_flags or 0
    slowed = flags & (_CAPPED | _THROTTLED | _SOFT_LIMIT)
    degrees = found.temperature_c
    if degrees is None and not slowed:
        return Finding("temperature", Grade.UNKNOWN, "this board has no sensor for it")
    seen = "no sensor" if degrees is None else f"{degrees:.0f} C"
    advice = "give it a heat sink, a fan or shade; a hot board is slow, and its proofs are inconclusive"
    if slowed or (degrees is not None and degrees >= HOT_C):
        return Finding("temperature", Grade.BAD, seen + (", slowed down now" if slowed else ""), advice)
    if (flags >> _SINCE_BOOT) & (_CAPPED | _THROTTLED | _SOFT_LIMIT):
        return Finding("temperature", Grade.WARN, f"{seen}, slowed down since boot", advice)
    if degrees is not None and degrees >= _WARM_C:
        return Finding("temperature", Grade.WARN, seen, advice)
    return Finding("temperature", Grade.GOOD, seen)


def _disk(found: Examination) -> Finding:
    if found.disk_free is None or not found.disk_total:
        return Finding("disk", Grade.UNKNOWN, "the board does not say")
    seen = f"{found.disk_free >> 20} of {found.disk_total >> 20} MiB free"
    if found.disk_read_only:
        return Finding(
            "disk", Grade.BAD, f"{seen}, mounted read-only",
            "the kernel does that when a card fails: save what matters, replace the card, bootstrap again",
        )  # fmt: skip
    advice = "delete what is not needed: journals (`journalctl --vacuum-size=50M`), packages, old pictures"
    if found.disk_free < LOW_DISK_BYTES:
        return Finding("disk", Grade.BAD, seen, advice)
    few_files = found.files_free_share is not None and found.files_free_share < 0.05
    if few_files or found.disk_free < 0.1 * found.disk_total:
        return Finding("disk", Grade.WARN, seen + (", few files left" if few_files else ""), advice)
    return Finding("disk", Grade.GOOD, seen)


def _memory(found: Examination) -> Finding:
    if found.memory_free is None or not found.memory_total:
        return Finding("memory", Grade.UNKNOWN, "the board does not say")
    seen = f"{found.memory_free >> 20} of {found.memory_total >> 20} MiB free"
    share = found.memory_free / found.memory_total
    advice = "see who takes it (`ps aux --sort -rss`); serve with fewer threads, or a smaller model"
    if share < 0.05:
        return Finding("memory", Grade.BAD, seen, advice)
    return Finding("memory", Grade.WARN, seen, advice) if share < 0.1 else Finding("memory", Grade.GOOD, seen)


def _load(found: Examination) -> Finding:
    if found.load1 is None or not found.cpus:
        return Finding("load", Grade.UNKNOWN, "the board does not say")
    seen = f"{found.load1:.1f} on {found.cpus} processors"
    advice = "see who works (`top`): latency suffers, and proofs with it"
    if found.load1 > 2 * found.cpus:
        return Finding("load", Grade.WARN, seen, advice)
    return Finding("load", Grade.GOOD, seen)


def _clock(found: Examination, now: float) -> Finding:
    if found.clock is None:
        return Finding("clock", Grade.UNKNOWN, "the board does not say")
    skew = found.clock - now
    seen = f"{abs(skew):.0f} s {'fast' if skew > 0 else 'slow'}" if abs(skew) >= 2 else "right"
    advice = "let it keep time (`timedatectl set-ntp true`, with a server that it can reach)"
    if abs(skew) >= _SKEW_BAD_S:
        return Finding("clock", Grade.BAD, seen, advice)
    if abs(skew) >= _SKEW_WARN_S:
        return Finding("clock", Grade.WARN, seen, advice)
    if found.synchronized is False:
        return Finding("clock", Grade.WARN, f"{seen}, and nothing keeps it so", advice)
    return Finding("clock", Grade.GOOD, seen)


def _network(found: Examination) -> Finding:
    if not found.interfaces:
        return Finding("network", Grade.UNKNOWN, "the board does not name its interfaces")
    names = ", ".join(each.name for each in found.interfaces)
    lossy = [i.name for i in found.interfaces if i.error_share is not None and i.error_share > 0.01]
    if lossy:
        return Finding(
            "network",
            Grade.WARN,
            f"{', '.join(lossy)} receives broken packets",
            "change the cable or the port",
        )
    weak = [i for i in found.interfaces if i.signal_dbm is not None and i.signal_dbm < _WEAK_DBM]
    if weak:
        seen = f"{weak[0].name} hears its access point at {weak[0].signal_dbm:.0f} dBm"
        return Finding("network", Grade.WARN, seen, "move the board or the access point, or use a cable")
    if found.default_route is False:
        return Finding("network", Grade.GOOD, f"{names}, without a way out: fleetctl needs none")
    return Finding("network", Grade.GOOD, names)


def _service(status: BoardStatus, found: Examination) -> Finding:
    seen = status.observed
    if not seen.adopted:
        return Finding("service", Grade.BAD, "none of ours", "run `fleetctl rollout`")
    state = f"{seen.service}, {found.service_state}" if found.service_state else seen.service
    if seen.service != "running" or seen.loaded is None:
        advice = f"see why with `fleetctl logs {status.board}`"
        return Finding("service", Grade.BAD, state, advice, (Remedy.RESTART_SERVICE,))
    if found.restarts:
        seen_restarts = f"{state}, {found.restarts} restarts by itself"
        return Finding("service", Grade.WARN, seen_restarts, f"see why with `fleetctl logs {status.board}`")
    return Finding("service", Grade.GOOD, state)


def _accelerator(board: Board, seen: Observed, found: Examination, proof: Proof) -> Finding:
    if board.accelerator is Accelerator.NONE and not found.edge_tpus:
        return Finding("accelerator", Grade.GOOD, "none asked for")
    if not found.edge_tpus:
        grade = Grade.BAD if board.accelerator is Accelerator.REQUIRED else Grade.WARN
        advice = "check plug, cable and power: it draws up to 900 mA; a hub with its own supply helps"
        return Finding("accelerator", grade, "no Edge TPU shows on USB or PCIe", advice, (Remedy.REBOOT,))
    where = ", ".join(f"{tpu.bus} {tpu.port}" for tpu in found.edge_tpus)
    hot = [tpu.temperature_c for tpu in found.edge_tpus if (tpu.temperature_c or 0.0) >= _TPU_HOT_C]
    if hot:
        advice = "cool it, or use the slower clock of `libedgetpu1-std`"
        return Finding("accelerator", Grade.BAD, f"{where}, {hot[0]:.0f} C", advice)
    if board.accelerator is Accelerator.NONE:
        return Finding("accelerator", Grade.GOOD, f"{where}, not asked for")
    stuck = _stuck(seen, found, proof)
    if stuck:
        advice = "it may be stuck: climb the ladder, one rung at a time, and look again after each"
        return Finding("accelerator", Grade.BAD, f"{where}: {stuck}", advice, _ladder(found))
    return Finding("accelerator", Grade.GOOD, f"{where}, in use")


def _stuck(seen: Observed, found: Examination, proof: Proof) -> str:
    """Why an Edge TPU that shows is not at work; empty where it is."""
    if seen.loaded is not None and seen.loaded.accelerator != "edgetpu":
        return f"the service runs on {seen.loaded.accelerator or 'something else'}"
    if seen.loaded is not None and all(tpu.firmware is False for tpu in found.edge_tpus):
        return "it was never used since it had power, whatever the service says"
    if seen.loaded is None:
        return "the service does not answer"
    return "the service does not answer the golden samples" if proof.outcome is None else ""


def _ladder(found: Examination) -> tuple[Remedy, ...]:
    on_usb = any(tpu.bus == "usb" for tpu in found.edge_tpus)
    return tuple(remedy for remedy in Remedy if on_usb or remedy is not Remedy.RESET_USB)


def _runtime(found: Examination, refusals: Sequence[str]) -> Finding:
    seen = ", ".join(_versions(found)) or "the board does not say"
    if refusals:
        return Finding("runtime", Grade.BAD, f"{seen}: {refusals[0]}", "; ".join(refusals[1:]))
    return Finding("runtime", Grade.GOOD if _versions(found) else Grade.UNKNOWN, seen)


def _versions(found: Examination) -> list[str]:
    known = found.platform
    python = f"Python {known.python}" if known.python else None
    library = f"libedgetpu {known.library}" if known.library else None
    return [str(part) for part in (known.system, known.machine, python, known.interpreter, library) if part]


def _release(status: BoardStatus) -> Finding:
    loaded = status.observed.loaded
    runs = f"{loaded.release[:8]} loaded" if loaded else "nothing loaded"
    if not status.troubles:
        return Finding("release", Grade.GOOD, f"{runs}, as git says")
    advice = f"`fleetctl drift --on {status.board}` says how that came about, and what mends it"
    return Finding("release", Grade.BAD, f"{runs}: {'; '.join(status.troubles)}", advice)


def _answers(proof: Proof) -> Finding:
    if proof.outcome is None:
        return Finding("answers", Grade.BAD, "; ".join(proof.reasons) or "nothing answered")
    speed = "" if proof.p95_ms is None else f", p95 {proof.p95_ms:.1f} ms"
    if proof.outcome is Outcome.PASSED:
        return Finding("answers", Grade.GOOD, f"golden samples pass{speed}")
    grade = Grade.BAD if proof.outcome is Outcome.FAILED else Grade.WARN
    advice = "`fleetctl smoke` holds them against what git says; `fleetctl rollout` brings a proved release"
    return Finding("answers", grade, "; ".join(proof.reasons) or proof.outcome.value, advice)
