"""A rollout as its journal tells it, finished or under way. Pure: records in, a tale out."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from fleetctl.smoke import Verdict
from fleetctl.untrusted import number, text


class BoardTale(Struct):
    """How a board ended so far; `verdict` is empty while it is at work."""

    board: str
    verdict: str = ""
    reasons: tuple[str, ...] = ()
    release: str = ""
    p95_ms: float | None = None
    settled: float | None = None  # seconds since 1970


class WaveTale(Struct):
    """A wave: its boards in the order of the manifest, and what its gate said of them."""

    number: int
    name: str
    began: float
    boards: dict[str, BoardTale] = field(default_factory=dict)
    soak_s: float | None = None
    released_before: int = 0  # boards of an earlier rollout, watched for the rest of their soak
    decision: str = ""  # `open`, `pause` or `fail`; empty while it is under way
    reason: str = ""

    @property
    def counts(self) -> Counter[str]:
        """Boards by verdict; those at work under an empty one."""
        return Counter(board.verdict for board in self.boards.values())

    @property
    def share_verified(self) -> float | None:
        """Of the boards that were verified or failed: what a gate's `success` is held against."""
        failed = self.counts[Verdict.ROLLED_BACK] + self.counts[Verdict.ROLLBACK_FAILED]
        judged = self.counts[Verdict.VERIFIED] + failed
        return self.counts[Verdict.VERIFIED] / judged if judged else None


class Tale(Struct):
    """A whole rollout. `outcome` is empty while it is under way, or where it was interrupted."""

    fleet: str = ""
    commit: str = ""
    boards: int = 0  # that the plan touches
    began: float = 0.0
    heard: float = 0.0  # when something last happened
    waves: list[WaveTale] = field(default_factory=list)
    held_by: str = ""  # who paused it; empty while it moves
    reverting: str = ""  # why boards are being taken back
    outcome: str = ""
    verdicts: dict[str, int] = field(default_factory=dict)

    @property
    def settled(self) -> int:
        """Boards with a verdict."""
        return sum(bool(board.verdict) for wave in self.waves for board in wave.boards.values())

    @property
    def seconds(self) -> float:
        """From its start to what last happened."""
        return max(0.0, self.heard - self.began)


def journal_begun(state: Path, at: float) -> Path:
    """The journal of a rollout that begins then: one for each, and by their names in the order of time."""
    began = datetime.fromtimestamp(at, UTC)
    return state / "journal" / f"{began:%Y%m%dT%H%M%S.%f}Z.jsonl"


def newest_journal(state: Path) -> Path | None:
    """The journal of the last rollout that was made from the folder whose `.fleetctl` is `state`."""
    kept = sorted((state / "journal").glob("*.jsonl"))
    return kept[-1] if kept else None


def tell(records: Iterable[Mapping[str, Any]]) -> Tale:
    """The tale of one journal; records that it cannot make sense of are left out."""
    tale = Tale()
    for record in records:
        time = _number(record, "time")
        if time is not None:
            tale.heard = time
        handler = _HANDLERS.get(str(record.get("event")))
        if handler is not None:
            handler(tale, record)
    return tale


def _started(tale: Tale, record: Mapping[str, Any]) -> None:
    tale.fleet, tale.commit = _text(record, "fleet"), _text(record, "commit")
    tale.boards, tale.began = int(_number(record, "boards") or 0), tale.heard


def _wave_started(tale: Tale, record: Mapping[str, Any]) -> None:
    names = record.get("boards")
    named = names if isinstance(names, list | tuple) else ()
    boards = {str(name): BoardTale(str(name)) for name in named}
    tale.waves.append(
        WaveTale(int(_number(record, "number") or 0), _text(record, "name"), tale.heard, boards)
    )


def _settled(tale: Tale, record: Mapping[str, Any]) -> None:
    name = _text(record, "board")
    reasons = record.get("reasons")
    told = BoardTale(
        name,
        _text(record, "verdict"),
        tuple(str(reason) for reason in reasons) if isinstance(reasons, list | tuple) else (),
        _text(record, "release"),
        _number(record, "p95_ms"),
        tale.heard,
    )
    # One that no wave holds was released by an earlier rollout, and watched along.
    holding = [wave for wave in tale.waves if name in wave.boards] or tale.waves[-1:]
    for wave in holding if name else ():
        wave.boards[name] = told


def _soak(tale: Tale, record: Mapping[str, Any]) -> None:
    if wave := _wave(tale, record):
        wave.soak_s = _number(record, "seconds")


def _soak_resumed(tale: Tale, record: Mapping[str, Any]) -> None:
    names = record.get("boards")
    tale.waves.append(
        WaveTale(
            int(_number(record, "number") or 0),
            _text(record, "name"),
            tale.heard,
            soak_s=_number(record, "seconds"),
            released_before=len(names) if isinstance(names, list | tuple) else 0,
        )
    )


def _gate(tale: Tale, record: Mapping[str, Any]) -> None:
    if wave := _wave(tale, record):
        wave.decision, wave.reason = _text(record, "decision"), _text(record, "reason")


def _held(tale: Tale, record: Mapping[str, Any]) -> None:
    tale.held_by = _text(record, "by")


def _moves(tale: Tale, _: Mapping[str, Any]) -> None:
    tale.held_by = ""


def _reverting(tale: Tale, record: Mapping[str, Any]) -> None:
    tale.reverting = _text(record, "reason")


def _finished(tale: Tale, record: Mapping[str, Any]) -> None:
    tale.outcome, tale.held_by = _text(record, "outcome"), ""
    verdicts = record.get("verdicts")
    if isinstance(verdicts, dict):
        tale.verdicts = {str(key): value for key, value in verdicts.items() if isinstance(value, int)}


def _wave(tale: Tale, record: Mapping[str, Any]) -> WaveTale | None:
    return next((wave for wave in tale.waves if wave.number == record.get("number")), None)


def _text(record: Mapping[str, Any], key: str) -> str:
    return text(record.get(key), 2000)


def _number(record: Mapping[str, Any], key: str) -> float | None:
    return number(record.get(key))


_HANDLERS = {
    "RolloutStarted": _started,
    "WaveStarted": _wave_started,
    "BoardSettled": _settled,
    "SoakStarted": _soak,
    "SoakResumed": _soak_resumed,
    "GateDecided": _gate,
    "RolloutHeld": _held,
    "RolloutResumed": _moves,
    "RolloutAborted": _moves,
    "RevertStarted": _reverting,
    "RolloutFinished": _finished,
}
