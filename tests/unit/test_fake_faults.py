"""Simulated boards: faults do what they say, what happened is kept, a faults file is read strictly."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from tiny_detector import marks_contract

from fleetctl.artifact import BlobRef, Contract, GoldenAnswer, Tensor
from fleetctl.errors import ManifestError, TransportError
from fleetctl.manifest.schema import Board, BoardKind, VariantName
from fleetctl.release import Release
from fleetctl.store import BlobStore, canonical_json
from fleetctl.transports.base import Order, Reply, ReplyStatus
from fleetctl.transports.fake import FakeTransport
from fleetctl.transports.faults import Fault, Faults, Stage

DOCUMENTATION = Path(__file__).resolve().parents[2] / "docs" / "fake-transport.md"
BOARD = Board("luxor-01", BoardKind.CORAL_DEV_BOARD, "reader", VariantName.EDGETPU)
CONTRACT = Contract(
    model="reader",
    variant="edgetpu",
    task="classification",
    labels=("G17", "M17"),
    preprocess={"shape": [2, 2, 1]},
    input=Tensor((1, 2, 2, 1), "uint8", 1.0, 0),
    output=Tensor((1, 2), "uint8", 1 / 255, 0),
    golden=(GoldenAnswer("G17", 0.9), GoldenAnswer("M17", 0.8)),
    score_tolerance=0.07,
)


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store")


def order(
    store: BlobStore, *, threshold: float = 0.5, board: Board = BOARD, contract: Contract = CONTRACT
) -> Order:
    """An order with a budget of 8 ms on the Edge TPU."""
    golden = io.BytesIO()
    np.save(golden, np.zeros((2, 2, 2), np.uint8))
    contents = {
        "model/model.tflite": b"model",
        "model/contract.json": contract.to_json(),
        "model/golden.npy": golden.getvalue(),
        "config/serve.json": canonical_json({"board": board.name, "threshold": threshold}),
        "config/smoke.json": canonical_json(
            {"samples": 2, "min_agreement": 1.0, "max_p95_ms": 8.0, "accelerator": "required"}
        ),
    }
    files = {path: BlobRef(store.put(data), len(data)) for path, data in contents.items()}
    return Order(board, Release(files), store.root, "c0ffee", confirm_timeout=30.0, deadline=300.0)


def release(transport: FakeTransport, given: Order) -> Reply:
    (reply,) = transport.release([given])
    return reply


def observe(transport: FakeTransport) -> dict[str, Any]:
    (reply,) = transport.observe([BOARD], deadline=1.0)
    return dict(reply.data)


def faulty(**settings: Any) -> Faults:
    return Faults({"luxor-*": settings})


REFUSED_EVIDENCE = [
    ({"bad_answers": 0.5}, "failed", "1 of 2 golden answers agree"),
    ({"slow": 9.0}, "failed", "p95 latency 9.0 ms is over the budget of 8 ms"),
    ({"hot": True}, "inconclusive", "the board is at 86 C"),
    ({"wrong_accelerator": True}, "failed", "the accelerator is required, cpu was used"),
    ({"no_accelerator": True}, "inconclusive", "no accelerator to ask"),
    ({"lies": True}, "failed", "the receipt is from board"),
]


@pytest.mark.parametrize(("settings", "outcome", "reason"), REFUSED_EVIDENCE)
def test_bad_evidence_is_judged_and_reverted(
    settings: dict[str, Any], outcome: str, reason: str, store: BlobStore
) -> None:
    """A board whose evidence does not hold ends where it was, with the reason."""
    transport = FakeTransport()
    first = release(transport, order(store))
    spoilt = release(replace(transport, faults=faulty(**settings)), order(store, threshold=0.6))

    assert "confirmed" == first.data["state"]
    assert (outcome, "reverted") == (spoilt.data["judgement"]["outcome"], spoilt.data["state"])
    assert reason in "; ".join(spoilt.data["judgement"]["reasons"])
    assert order(store).release.digest == observe(transport)["current"]


def test_a_simulated_detector_is_judged_by_its_scenes(store: BlobStore) -> None:
    """The fake board answers golden scenes, and bad answers are scenes that disagree."""
    transport, contract = FakeTransport(), marks_contract()
    first = release(transport, order(store, contract=contract))
    faults = faulty(bad_answers=0.5)
    spoilt = release(replace(transport, faults=faults), order(store, threshold=0.6, contract=contract))

    assert "confirmed" == first.data["state"]
    assert "reverted" == spoilt.data["state"]
    assert "2 of 4 golden answers agree" in "; ".join(spoilt.data["judgement"]["reasons"])


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"unreachable": True}, ReplyStatus.UNREACHABLE),
        ({"refused": True}, ReplyStatus.REFUSED),
        ({"timed_out": True}, ReplyStatus.TIMED_OUT),
        *(
            ({"fail_stage": stage}, ReplyStatus.FAILED)
            for stage in (Stage.MISSING, Stage.ACTIVATE, Stage.CONFIRM)
        ),
    ],
)
def test_boards_that_give_no_answer(settings: dict[str, Any], status: ReplyStatus, store: BlobStore) -> None:
    """A board that is out of reach, or fails at a step, gives a reply that says so and no data."""
    reply = release(FakeTransport(faults=faulty(**settings)), order(store))

    assert (status, {}) == (reply.status, reply.data)
    assert "simulated" in reply.error


def test_a_flaky_board_answers_after_its_first_calls(store: BlobStore) -> None:
    """`flaky: 2` is out of reach twice and then like any other, also across runs."""
    states = [
        release(FakeTransport(store.root / "state", faulty(flaky=2)), order(store)).status for _ in range(3)
    ]

    assert [ReplyStatus.UNREACHABLE, ReplyStatus.UNREACHABLE, ReplyStatus.OK] == states


def test_a_look_leaves_no_trace(tmp_path: Path) -> None:
    """Looking at a board that is as it was writes no record of it: syncing one takes longer than the look."""
    observe(FakeTransport(tmp_path / "state"))

    assert not (tmp_path / "state").exists()


def test_a_dying_board_reverts_itself_when_its_time_is_up(store: BlobStore) -> None:
    """A board that is not heard of after the swap holds its release for `confirm_timeout`, and no longer."""
    now = [1_700_000_000.0]
    transport = FakeTransport(clock=lambda: now[0])
    release(transport, order(store))
    lost = release(replace(transport, faults=faulty(dies_after_activate=True)), order(store, threshold=0.6))
    before = observe(transport)
    now[0] += 31.0
    after = observe(transport)

    assert (ReplyStatus.TIMED_OUT, "lost half-way: simulated: the connection broke") == (
        lost.status,
        lost.error,
    )
    assert order(store, threshold=0.6).release.digest == before["pending"]["release"] == before["current"]
    assert order(store).release.digest == after["current"] == after["good"]
    assert "nobody confirmed the release in time" in after["receipt"]["reasons"]


def test_a_board_that_cannot_go_back_says_so(store: BlobStore) -> None:
    """With `revert_fails` a bad release stays, and its state is not `reverted`."""
    reply = release(FakeTransport(faults=faulty(bad_answers=1.0, revert_fails=True)), order(store))

    assert "revert_failed" == reply.data["state"]


def test_records_outlive_the_process(store: BlobStore, tmp_path: Path) -> None:
    """Another run finds the boards as the last one left them, whatever characters their names hold."""
    board = replace(BOARD, name="../luxor 01")
    given = order(store, board=board)
    release(FakeTransport(tmp_path / "state"), given)
    again = release(FakeTransport(tmp_path / "state"), given)

    assert ("unchanged", 0) == (again.data["state"], again.data["sent"])
    assert ["..%2Fluxor%2001.json"] == [path.name for path in (tmp_path / "state").iterdir()]


def test_a_record_that_is_none_is_named(store: BlobStore, tmp_path: Path) -> None:
    """A damaged record is an error with the file's name, not a board as good as new."""
    (tmp_path / "luxor-01.json").write_text('{"schema": "other"}')
    with pytest.raises(TransportError) as caught:
        release(FakeTransport(tmp_path), order(store))

    assert "luxor-01.json is not the record of a simulated board" in caught.value.message


def test_globs_add_up_in_the_order_of_the_file() -> None:
    """Every glob that matches a board has its say, the last one where they differ."""
    faults = Faults({"*": {"flaky": 1, "hot": True}, "luxor-*": {"flaky": 2}, "karnak-*": {"lies": True}})

    assert Fault(flaky=2, hot=True) == faults.of("luxor-01")


def test_a_faults_file_is_read(tmp_path: Path) -> None:
    """Every fault can be written in YAML."""
    path = tmp_path / "faults.yaml"
    path.write_text(
        "'*': {flaky: 1}\nluxor-01: {fail_stage: confirm, bad_answers: 0.25, slow: 12.5, lies: false}\n"
    )

    assert Fault(flaky=1, fail_stage=Stage.CONFIRM, bad_answers=0.25, slow=12.5) == Faults.load(path).of(
        "luxor-01"
    )


PROBLEMS = [
    (
        "a: {unreachabel: true}",
        "1:5: a.unreachabel: unknown fault `unreachabel`; did you mean `unreachable`?",
    ),
    ("a: {hot: 1}", "1:10: a.hot: expected true or false"),
    ("a: {bad_answers: 2}", "1:18: a.bad_answers: expected a number from 0 to 1"),
    ("a: {bad_answers: .nan}", "1:18: a.bad_answers: expected a number"),
    ("a: {slow: -1}", "1:11: a.slow: expected milliseconds, 0 or more"),
    ("a: {flaky: 1.5}", "1:12: a.flaky: expected a whole number from 0 to 999999"),
    ("a: {fail_stage: boot}", "1:17: a.fail_stage: expected one of observe, missing, activate, confirm"),
    ("a: {hot: [true]}", "1:10: a.hot: expected true or false"),
    ("a: true", "1:4: a: a mapping is needed here; such as `luxor-*: {unreachable: true}`"),
    ("a: {hot: true}\na: {lies: true}", "2:1: a: `a` is here twice; keep one of them"),
    ("- a", "1:1: a mapping is needed here"),
    ("a: {hot: true", "2:1: the `{` before this is not closed"),
]


@pytest.mark.parametrize(("text", "expected"), PROBLEMS)
def test_problems_of_a_faults_file_have_their_place(text: str, expected: str, tmp_path: Path) -> None:
    """What is wrong in a faults file is said with line, column, path and what would be right."""
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    with pytest.raises(ManifestError) as caught:
        Faults.load(path)

    assert [f"{path}:{expected}"] == [
        str(problem)[: len(f"{path}:{expected}")] for problem in caught.value.problems
    ]
    assert "1 problem in the faults file" == caught.value.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("luxor-1: {slow: 1}", "1:1: luxor-1: unknown board `luxor-1`; did you mean `luxor-01`?"),
        ("lxor-*: {slow: 1}", "1:1: lxor-*: unknown board `lxor-*`; did you mean `luxor-01`?"),
        ("nope: {slow: 1}", "1:1: nope: unknown board `nope`; a key is the name of a board"),
        ("LUXOR-*: {slow: 1}", "1:1: LUXOR-*: unknown board `LUXOR-*`; a key is the name of a board"),
        ("luxor-01: {slow: 1}\nnope: {}\n", "2:1: nope: unknown board `nope`; a key is"),
    ],
)
def test_a_fault_of_no_board_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    """A mistyped rehearsal would pass, with nothing gone wrong; who has no list of boards cannot tell."""
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    with pytest.raises(ManifestError) as caught:
        Faults.load(path, ["karnak-01", "luxor-01"])

    (problem,) = caught.value.problems
    assert str(problem).startswith(f"{path}:{expected}")
    assert Faults.load(path)


def test_faults_of_boards_and_of_globs_that_mean_some_are_taken(tmp_path: Path) -> None:
    """Also of boards that a command is not about."""
    path = tmp_path / "faults.yaml"
    path.write_text("'*': {flaky: 1}\nlux*-0[1-3]: {slow: 2}\nkarnak-01: {}\n")

    assert Fault(flaky=1, slow=2.0) == Faults.load(path, ["karnak-01", "luxor-01"]).of("luxor-01")


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_an_empty_faults_file_says_what_goes_into_one(text: str, tmp_path: Path) -> None:
    """No verb writes an example of one."""
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    with pytest.raises(ManifestError) as caught:
        Faults.load(path)

    assert [f"{path}: is empty; say who does what, such as `luxor-*: {{unreachable: true}}`"] == [
        str(problem) for problem in caught.value.problems
    ]


def test_an_absent_faults_file_is_a_problem(tmp_path: Path) -> None:
    """A faults file that was asked for and is not there is never taken for an empty one."""
    with pytest.raises(ManifestError) as caught:
        Faults.load(tmp_path / "faults.yaml")

    assert "cannot be read: No such file or directory" in str(caught.value.problems[0])


def test_every_fault_is_documented() -> None:
    """The manual lists each fault once."""
    rows = [line.split("`")[1] for line in DOCUMENTATION.read_text().splitlines() if line.startswith("| `")]

    assert list(Fault.__struct_fields__) == rows


@pytest.mark.parametrize(
    "document", ["", "[]", f'{{"schema": "fleetctl.fake-board/v1", "record": {"[" * 100_000}']
)
def test_a_record_that_is_no_record_is_named(document: str, tmp_path: Path) -> None:
    """Empty, something else, or too deep to be read."""
    (tmp_path / "luxor-01.json").write_text(document)
    with pytest.raises(TransportError, match=r"luxor-01\.json is not the record of a simulated board"):
        observe(FakeTransport(tmp_path))


PENDING = {"release": "r", "previous": None, "confirm_by": 1, "signed": None}
TRUST = {"fleet": "unas", "board": "luxor-01", "keys": []}
DAMAGED: list[tuple[str, Any]] = [
    ("sizes", 3),
    ("receipts", {}),
    ("receipts", [{}]),
    ("pending", {}),
    ("pending", []),
    ("pending", {**PENDING, "confirm_by": "soon"}),
    ("pending", {**PENDING, "signed": "yes"}),
    ("trust", {}),
    ("trust", {**TRUST, "keys": "none"}),
    ("trust", {**TRUST, "keys": ["a key"]}),
    ("started", 1e300),
    ("booted", -1),
    ("texts", {"0" * 64: "not what it was"}),
]


@pytest.mark.parametrize(("key", "value"), DAMAGED, ids=str)
def test_a_record_that_somebody_edited_is_named(
    store: BlobStore, tmp_path: Path, key: str, value: Any
) -> None:
    """Whatever lies where something else should, or is absent, is no accident of ours."""
    release(FakeTransport(tmp_path), order(store))
    path = tmp_path / "luxor-01.json"
    document = json.loads(path.read_text())
    document["record"][key] = value
    path.write_text(json.dumps(document))
    with pytest.raises(TransportError, match=r"luxor-01\.json is not the record of a simulated board"):
        observe(FakeTransport(tmp_path))


def test_a_record_without_one_of_its_blobs_is_named(store: BlobStore, tmp_path: Path) -> None:
    """One digit that flipped is not an accident of ours."""
    given = order(store)
    release(FakeTransport(tmp_path / "boards"), given)
    (path,) = (tmp_path / "boards").glob("*.json")
    record = json.loads(path.read_text())
    record["record"]["sizes"].pop(given.release.files["model/model.tflite"].sha256)
    path.write_text(json.dumps(record))
    with pytest.raises(TransportError, match="not the record of a simulated board"):
        observe(FakeTransport(tmp_path / "boards"))
