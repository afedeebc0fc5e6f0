"""The controller's verdict on a board: by its own contract, whatever the board thinks of itself."""

import copy
from pathlib import Path
from typing import Any

import pytest
from tiny_board import LABELS, TinyRelease, tiny_contract, tiny_release

from fleetctl.errors import BuildError
from fleetctl.manifest.schema import Board, BoardKind, VariantName
from fleetctl.smoke import Ordered, Outcome, Verdict, judge, judge_order, verdict
from fleetctl.store import BlobStore
from fleetctl.transports.base import Order, Reply, ReplyStatus

BOARD = Board(name="luxor-01", board=BoardKind.GENERIC, model="quadrants", variant=VariantName.INT8)


@pytest.fixture
def release() -> TinyRelease:
    return tiny_release(8091)


@pytest.fixture
def order(tmp_path: Path, release: TinyRelease) -> Order:
    store = BlobStore(tmp_path)
    for data in release.files.values():
        store.put(data)
    return Order(BOARD, release.release, tmp_path, "c0ffee", 30.0, 300.0)


@pytest.fixture
def receipt(order: Order) -> dict[str, Any]:
    """What a board that did everything right reports."""
    model = order.release.files["model/model.tflite"].sha256
    return {
        "board": "luxor-01",
        "release": order.release.digest,
        "loaded": {"release": order.release.digest, "model_sha256": model},
        "accelerator": {"used": "cpu"},
        "answers": [{"label": label, "score": 0.784, "elapsed_ms": 1.0} for label in LABELS],
        "outcome": "passed",
        "reasons": [],
    }


def wrong(receipt: dict[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(receipt)
    for answer in changed["answers"]:
        answer["label"] = "nowhere"
    return changed


def hot(receipt: dict[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(receipt)
    for answer in changed["answers"]:
        answer["elapsed_ms"] = 1e4
    return {**changed, "health": {"temperature_c": 85.0}}


EXPECTED = [
    ("confirmed", "right", Verdict.VERIFIED),
    ("confirmed", "wrong", Verdict.ROLLBACK_FAILED),
    ("confirmed", "hot", Verdict.INCONCLUSIVE),
    ("unchanged", "right", Verdict.VERIFIED),
    ("unchanged", "wrong", Verdict.ROLLBACK_FAILED),
    ("reverted", "right", Verdict.ROLLED_BACK),
    ("reverted", "wrong", Verdict.ROLLED_BACK),
    ("reverted", "hot", Verdict.INCONCLUSIVE),
    ("revert_failed", "right", Verdict.ROLLBACK_FAILED),
    ("revert_failed", "wrong", Verdict.ROLLBACK_FAILED),
    ("pending", "right", Verdict.INCONCLUSIVE),
    ("pending", "wrong", Verdict.INCONCLUSIVE),
    ("splendid", "right", Verdict.ROLLBACK_FAILED),
    (None, "right", Verdict.ROLLBACK_FAILED),
    (["confirmed"], "right", Verdict.ROLLBACK_FAILED),
]


@pytest.mark.parametrize(("state", "evidence", "expected"), EXPECTED)
def test_verdicts(
    order: Order, receipt: dict[str, Any], state: object, evidence: str, expected: Verdict
) -> None:
    """How a board ended, by the state it reports and its evidence; only proof that stayed is verified."""
    said = {"right": receipt, "wrong": wrong(receipt), "hot": hot(receipt)}[evidence]
    ended = verdict(order, Reply("luxor-01", ReplyStatus.OK, {"state": state, "receipt": said}))
    assert ended.verdict is expected
    assert bool(ended.reasons) is (expected is not Verdict.VERIFIED)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (ReplyStatus.UNREACHABLE, Verdict.DEFERRED),
        (ReplyStatus.REFUSED, Verdict.UNTOUCHED),
        (ReplyStatus.FAILED, Verdict.INCONCLUSIVE),
        (ReplyStatus.TIMED_OUT, Verdict.INCONCLUSIVE),
    ],
)
def test_verdicts_without_an_answer(order: Order, status: ReplyStatus, expected: Verdict) -> None:
    """A board that gave no answer is never verified, and its reason is the transport's."""
    ended = verdict(order, Reply("luxor-01", status, error="no route"))
    assert (ended.verdict, ended.reasons) == (expected, ("no route",))
    assert verdict(order, Reply("luxor-01", status)).reasons != ("",)


@pytest.mark.parametrize("outcome", ["passed", "failed", "inconclusive", None])
def test_a_boards_own_outcome_counts_for_nothing(
    order: Order, receipt: dict[str, Any], outcome: str | None
) -> None:
    """Only its answers do."""
    assert judge_order(order, {**receipt, "outcome": outcome}).passed
    assert judge_order(order, {**wrong(receipt), "outcome": outcome}).outcome is Outcome.FAILED


@pytest.mark.parametrize("receipt_said", [None, [], "passed", {}])
def test_a_malformed_receipt_is_no_proof(order: Order, receipt_said: object) -> None:
    """Whatever a board sends in place of a receipt, it is not verified."""
    reply = Reply("luxor-01", ReplyStatus.OK, {"state": "confirmed", "receipt": receipt_said})
    assert verdict(order, reply).verdict is Verdict.ROLLBACK_FAILED


def test_a_receipt_of_another_board_or_release(order: Order, receipt: dict[str, Any]) -> None:
    """A copied receipt is found out."""
    assert judge_order(order, {**receipt, "board": "luxor-02"}).reasons == (
        "the receipt is from board luxor-02, not luxor-01",
    )
    assert not judge_order(order, {**receipt, "release": "0" * 64}).passed


def test_long_reasons_are_cut(order: Order, receipt: dict[str, Any]) -> None:
    """A board cannot fill the report."""
    said = {**wrong(receipt), "reasons": ["x" * 10_000, 5, None, *["y"] * 100]}
    ended = verdict(order, Reply("luxor-01", ReplyStatus.OK, {"state": "reverted", "receipt": said}))
    assert len(ended.reasons) <= 20
    assert max(map(len, ended.reasons)) == 2000


@pytest.mark.parametrize("state", ["reverted", "confirmed"])
def test_no_board_tells_about_another(order: Order, receipt: dict[str, Any], state: str) -> None:
    """Whatever a board says, in its reasons or where we quote it, is one line of some length."""
    lie = "cpu\n✓ luxor-02: verified" + "x" * 100_000
    said = {**wrong(receipt), "reasons": [lie], "accelerator": {"used": lie}}
    ended = verdict(order, Reply("luxor-01", ReplyStatus.OK, {"state": state, "receipt": said}))

    assert not any("\n" in reason for reason in ended.reasons)
    assert max(map(len, ended.reasons)) <= 2000


def test_a_contract_as_bytes_or_as_parsed(receipt: dict[str, Any], order: Order) -> None:
    """`judge` takes the contract as it lies in the store."""
    ordered = Ordered("luxor-01", order.release.digest, order.release.files["model/model.tflite"].sha256)
    smoke = {"min_agreement": 1.0, "max_p95_ms": None, "accelerator": "none"}
    judgement = judge(tiny_contract().to_json(), smoke, receipt, ordered)
    assert judgement.passed
    assert {check.name: check.passed for check in judgement.checks}["agreement"]


def test_altered_terms_are_noticed(order: Order, receipt: dict[str, Any]) -> None:
    """A contract that was changed in the store is not judged by."""
    path = BlobStore(order.blobs).path(order.release.files["model/contract.json"].sha256)
    path.chmod(0o644)
    path.write_bytes(b"{}")
    with pytest.raises(BuildError, match="was altered"):
        judge_order(order, receipt)
