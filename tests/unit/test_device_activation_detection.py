"""Releases of a detector on a board: tried, proved by whole scenes, kept, or taken back."""

from collections.abc import Callable, Iterator

import pytest
from tiny_board import TinyBoard, TinyRelease, as_npy, powered, tiny_release
from tiny_detector import (
    GOLDEN_MARKS,
    marked,
    marks_release,
    spoilt,
    torn_release,
    with_model,
)

from fleetctl.smoke import Ordered, judge

MODEL = "model/model.tflite"


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyBoard]:
    """One board that keeps a good detector: bringing one up takes a second."""
    with powered(tmp_path_factory.mktemp("detector") / "root") as board:
        board.install(marks_release(board.port))
        yield board


@pytest.fixture
def good(board: TinyBoard) -> TinyRelease:
    release = marks_release(board.port)
    assert board.serves() == board.good == release.digest
    return release


def test_a_detector_is_proved_and_kept(board: TinyBoard, good: TinyRelease) -> None:
    """The receipt has every golden scene, and the controller comes to the same verdict by itself."""
    reply = board.ask("probe")
    receipt = reply["receipt"]
    assert [len(marks) for marks in GOLDEN_MARKS] == [len(a["detections"]) for a in receipt["answers"]]
    assert (receipt["outcome"], receipt["reasons"]) == ("passed", [])
    assert receipt["latency_ms"]["p95"] > 0
    ordered = Ordered(board.name, good.digest, good.release.files[MODEL].sha256)
    assert judge(good.files["model/contract.json"], reply["smoke"], receipt, ordered).passed
    status, said = board.http("POST", "/predict", as_npy(marked(("bar", 8, 8))))
    assert (status, [one["label"] for one in said["detections"]]) == (200, ["bar"])


def wrong_boxes(release: TinyRelease) -> TinyRelease:
    return with_model(release, "misplaced")


def wrong_labels(release: TinyRelease) -> TinyRelease:
    return with_model(release, "marks", labels=("bar", "disc"))


def wrong_preparation(release: TinyRelease) -> TinyRelease:
    return with_model(release, "marks", preprocess={"shape": [16, 16, 1], "fit": "contain", "smooth": 3})


def another_boxes_tensor(release: TinyRelease) -> TinyRelease:
    boxes = {"shape": [1, 5, 4], "dtype": "uint8", "scale": 0.025, "zero_point": 128}
    return spoilt(release, boxes=boxes)


def slow(release: TinyRelease) -> TinyRelease:
    return release.with_json("config/smoke.json", max_p95_ms=0.001)


BAD: list[tuple[Callable[[TinyRelease], TinyRelease], str]] = [
    (
        wrong_boxes,
        "1 of 4 golden answers agree; at least 98% have to: in sample 1 bar (0.79) at [16, 10, 21, 16]",
    ),
    (
        wrong_labels,
        "1 of 4 golden answers agree; at least 98% have to: in sample 1 bar (0.79) at [16, 10, 21, 16]",
    ),
    (wrong_preparation, "1 of 4 golden answers agree; at least 98% have to: in sample 1 bar (0.79) at"),
    (torn_release, "answer 1 is no list of labels, finite scores and boxes"),
    (another_boxes_tensor, "serve: the model has no boxes uint8 [1, 5, 4] (scale 0.025, zero point 128)"),
    (slow, "p95 latency"),
]


@pytest.mark.parametrize(("spoil", "reason"), BAD, ids=[spoil.__name__ for spoil, _ in BAD])
def test_a_bad_detector_goes_back_at_once(
    board: TinyBoard, good: TinyRelease, spoil: Callable[[TinyRelease], TinyRelease], reason: str
) -> None:
    """Each fault is seen by the board itself, named, and undone; the good detector serves again."""
    reply = board.activate(spoil(good))
    assert reply["state"] == reply["receipt"]["state"] == "reverted"
    assert any(reason in said for said in reply["receipt"]["reasons"]), reply["receipt"]["reasons"]
    assert board.serves() == board.current == good.digest


def test_a_classifier_gives_way_to_a_detector_and_back(board: TinyBoard, good: TinyRelease) -> None:
    """A board changes its task with its release, and a failed change of task is undone."""
    reader = tiny_release(board.port)
    board.install(reader)
    assert board.activate(wrong_boxes(good))["state"] == "reverted"
    assert board.serves() == reader.digest
    board.install(good)
    assert board.serves() == good.digest
