"""The controller's own verdict on a board: from what was ordered and what the board answered.

A board's opinion of itself is never taken: its answers are held against the contract and the budget that were
rendered here, read from the very blobs that were sent.
"""

import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct, field

from fleetctl.device import judge as on_board
from fleetctl.store import BlobStore
from fleetctl.transports.base import Order, Reply, ReplyStatus
from fleetctl.untrusted import mapping

MODEL = "model/model.tflite"
CONTRACT = "model/contract.json"
BUDGET = "config/smoke.json"


class Outcome(StrEnum):
    """What evidence shows about a release on one board."""

    PASSED = on_board.PASSED
    FAILED = on_board.FAILED
    INCONCLUSIVE = on_board.INCONCLUSIVE


class Verdict(StrEnum):
    """How a board ended, exactly one each."""

    VERIFIED = "verified"  # proved, and kept
    ROLLED_BACK = "rolled_back"  # failed its proof, and runs what it ran before
    ROLLBACK_FAILED = "rollback_failed"  # not known to run anything proved: a person must look
    DEFERRED = "deferred"  # offline
    INCONCLUSIVE = "inconclusive"  # could not be asked fairly, or did not say how it ended
    UNTOUCHED = "untouched"  # nothing was changed on it


class Check(Struct, frozen=True):
    """One thing that was measured, and the limit it was held against."""

    name: str
    passed: bool
    measured: Any
    limit: Any


class Judgement(Struct, frozen=True):
    """What the evidence shows, why if it is no pass, and every check that was made."""

    outcome: Outcome
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.PASSED


class Ordered(Struct, frozen=True):
    """What a board was told to run."""

    board: str
    release: str
    model_sha256: str


class BoardVerdict(Struct, frozen=True):
    """How one board ended, and why; `receipt` is the board's own, untrusted."""

    board: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    receipt: Mapping[str, Any] = field(default_factory=dict)


def judge(
    contract: bytes | Mapping[str, Any],
    smoke: Mapping[str, Any],
    evidence: Mapping[str, Any],
    ordered: Ordered,
) -> Judgement:
    """Hold a receipt (`evidence`, untrusted) against a contract, a smoke budget and what was ordered."""
    terms = json.loads(contract) if isinstance(contract, bytes) else contract
    wanted = {"board": ordered.board, "release": ordered.release, "model_sha256": ordered.model_sha256}
    said = on_board.judge(terms, smoke, evidence, wanted)
    checks = tuple(Check(**check) for check in said["checks"])
    return Judgement(Outcome(said["outcome"]), tuple(map(_one_line, said["reasons"])), checks)


def judge_order(order: Order, evidence: Mapping[str, Any]) -> Judgement:
    """Judge a receipt by the contract and the budget in the bytes that were sent.

    Raises:
        BuildError: those blobs are no longer in the store, or were altered.
    """
    blobs, files = BlobStore(order.blobs), order.release.files
    ordered = Ordered(order.board.name, order.release.digest, files[MODEL].sha256)
    smoke = json.loads(blobs.get(files[BUDGET].sha256))
    return judge(blobs.get(files[CONTRACT].sha256), smoke, evidence, ordered)


def verdict(order: Order, reply: Reply) -> BoardVerdict:
    """How the board ended that was given `order` and gave `reply`.

    Raises:
        BuildError: as `judge_order`.
    """
    if not reply.ok:
        return _without_answer(order, reply)
    evidence = mapping(reply.data.get("receipt"))
    judgement = judge_order(order, evidence)
    settle = _BY_STATE.get(str(reply.data.get("state")), _unknown_state)
    ended, reasons = settle(judgement, _own_reasons(evidence))
    return BoardVerdict(order.board.name, ended, reasons, evidence)


Settled = tuple[Verdict, tuple[str, ...]]


def _without_answer(order: Order, reply: Reply) -> BoardVerdict:
    # Offline and refused are said of boards that could not be talked to at all. One that fell silent or broke
    # off half-way may have the release on probation: "untouched" would be a guess.
    silence = "no answer within the deadline; a board goes back by itself unless it is confirmed"
    ended, reason = {
        ReplyStatus.UNREACHABLE: (Verdict.DEFERRED, reply.error or "offline"),
        ReplyStatus.REFUSED: (Verdict.UNTOUCHED, reply.error or "access was refused"),
        ReplyStatus.FAILED: (Verdict.INCONCLUSIVE, reply.error or "the board said no"),
        ReplyStatus.TIMED_OUT: (Verdict.INCONCLUSIVE, reply.error or silence),
    }[reply.status]
    return BoardVerdict(order.board.name, ended, (reason,), {})


def _kept(judgement: Judgement, _: tuple[str, ...]) -> Settled:
    """The board stays on the release: anything but a pass means that it stays on something unproved."""
    if judgement.passed:
        return Verdict.VERIFIED, ()
    if judgement.outcome is Outcome.INCONCLUSIVE:
        return Verdict.INCONCLUSIVE, judgement.reasons
    return Verdict.ROLLBACK_FAILED, (*judgement.reasons, "the board stays on this release all the same")


def _gone_back(judgement: Judgement, own: tuple[str, ...]) -> Settled:
    if judgement.outcome is Outcome.INCONCLUSIVE:
        return Verdict.INCONCLUSIVE, judgement.reasons
    return Verdict.ROLLED_BACK, own or judgement.reasons or ("the board went back without saying why",)


def _stuck(judgement: Judgement, own: tuple[str, ...]) -> Settled:
    return Verdict.ROLLBACK_FAILED, own or judgement.reasons or ("the board could not go back",)


def _undecided(judgement: Judgement, _: tuple[str, ...]) -> Settled:
    reason = "the release was not confirmed; the board goes back by itself"
    return Verdict.INCONCLUSIVE, (*judgement.reasons, reason)


def _unknown_state(judgement: Judgement, _: tuple[str, ...]) -> Settled:
    return Verdict.ROLLBACK_FAILED, (*judgement.reasons, "the board did not say how it ended")


_BY_STATE: Mapping[str, Callable[[Judgement, tuple[str, ...]], Settled]] = {
    "confirmed": _kept,
    "unchanged": _kept,
    "reverted": _gone_back,
    "revert_failed": _stuck,
    "pending": _undecided,
}


def _own_reasons(receipt: Mapping[str, Any]) -> tuple[str, ...]:
    """What the board says went wrong; text only, and not endless."""
    reasons = receipt.get("reasons")
    said = reasons if isinstance(reasons, list) else []
    return tuple(_one_line(reason) for reason in said[:20] if isinstance(reason, str) and reason)


def _one_line(said: str) -> str:
    """What may hold words of a board: never a line that tells about another one, and never endless."""
    return " ".join(said[:2000].split())
