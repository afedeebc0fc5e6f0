"""A detector in front of a model: which output is which, what it tells, and its bounds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served import lay_out
from tiny_board import MODELS
from tiny_detector import detection_terms, marked, marks_contract, marks_release, spoilt, with_model

from fleetctl.artifact import Tensor
from fleetctl.device.detector import TILE_LIMIT, Detector, PictureTooLarge, TookTooLong, outputs_of
from fleetctl.device.folder import ReleaseFolder, ReleaseRefused
from fleetctl.device.opening import open_model
from fleetctl.device.runtime import CPU, Engine, load

MARKS = load((MODELS / "marks.tflite").read_bytes(), "none", 1)


class StoredEngine(Engine):
    """A model that says what it was given, to tell what no real model would."""

    def __init__(self, scores: Any, boxes: Any) -> None:
        self.used, self.tflite = CPU, "stored"
        self.input = MARKS.input
        self.outputs = MARKS.outputs
        self._results = [np.asarray(boxes), np.asarray(scores)]

    def run(self, tensor: Any) -> list[Any]:
        assert tensor.shape == self.input.shape
        return self._results


def contract(**changes: Any) -> Mapping[str, Any]:
    return marks_contract(**changes).to_mapping()


def test_outputs_are_told_apart_by_what_they_are() -> None:
    """The fixture's converter put the boxes first; the contract knows better."""
    assert outputs_of(contract(), MARKS) == (1, 0)


def test_outputs_that_look_alike_are_refused() -> None:
    """Four labels in the boxes' own shape, type and scale could be either."""
    four = Tensor((1, 5, 4), "float32")
    said = contract(labels=("a", "b", "c", "d"), output=four, boxes=four)
    with pytest.raises(ReleaseRefused, match="boxes: cannot be told from output"):
        outputs_of(said, MARKS)


def test_two_outputs_that_could_be_the_boxes_are_refused() -> None:
    """A model whose outputs are the same says nothing about which is which."""
    engine = StoredEngine([], [])
    engine.outputs = (MARKS.outputs[0], MARKS.outputs[0])
    with pytest.raises(ReleaseRefused, match="the model has no output uint8"):
        outputs_of(contract(), engine)
    engine.outputs = (MARKS.outputs[1], MARKS.outputs[1])
    with pytest.raises(ReleaseRefused, match="2 of the model's outputs could be its output"):
        outputs_of(contract(), engine)


REFUSED = [
    ({"detection": None}, "model/contract.json: detection: expected an object"),
    ({"boxes": None}, "model/contract.json: boxes: expected an object"),
    (
        {"detection": detection_terms(maps=[{"stride": 4, "anchors": [[8, 8]]}])},
        "model/contract.json: boxes.shape: expected [1, 16, 4] for as many anchors",
    ),
    (
        {"boxes": {"shape": [1, 5, 4], "dtype": "uint8", "scale": 0.04, "zero_point": 128}},
        "the model has no boxes uint8 [1, 5, 4] (scale 0.04, zero point 128), only uint8 [1, 5, 4]",
    ),
    (
        {"input": {"shape": [1, 16, 16, 1], "dtype": "uint8", "scale": 0.5, "zero_point": 0}},
        "the model's input is uint8 [1, 16, 16, 1] (scale 1, zero point 0), the contract says",
    ),
    ({"task": "classification"}, "the model has 2 outputs, a classifier has one"),
    ({"task": "poetry"}, "this runtime serves classification and detection, not poetry"),
]


@pytest.mark.parametrize(("fields", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_a_contract_of_another_model_is_refused(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    """Task, anchors, labels and all three tensors must be the model's own."""
    folder = ReleaseFolder(str(lay_out(tmp_path, spoilt(marks_release(1), **fields))))
    with pytest.raises(ReleaseRefused) as caught:
        open_model(folder, {})
    assert str(caught.value).startswith(said)


def test_a_classifier_is_no_detector(tmp_path: Path) -> None:
    """A model with one output is refused where the contract speaks of two."""
    folder = ReleaseFolder(str(lay_out(tmp_path, with_model(marks_release(1), "quadrants"))))
    with pytest.raises(ReleaseRefused, match="the model has 1 output, a detector has two"):
        open_model(folder, {})


@pytest.mark.parametrize(
    ("threshold", "told", "below"),
    [(None, 2, 0), (0.5, 2, 0), (0.6, 1, 1), (0.9, 0, 2), (0.3, 3, 0), (0.0, 5, 0), (2.0, 0, 2)],
)
def test_what_a_threshold_tells(threshold: float | None, told: int, below: int) -> None:
    """Over the threshold is told; what lies under it, yet over the contract's own, is kept apart."""
    scores = np.array([[[200, 0], [0, 140], [90, 0], [0, 0], [30, 60]]], np.uint8)
    detector = Detector(contract(), StoredEngine(scores, np.full((1, 5, 4), 128, np.uint8)), threshold)
    answer = detector.read(marked(shape=(16, 16)))
    assert (told, below) == (len(answer["detections"]), len(answer["below_threshold"]))
    assert all(one["score"] < (threshold or 0.5) for one in answer["below_threshold"])


@pytest.mark.parametrize(("height", "width", "fits"), [(16, 8 * 513, True), (16, 8 * 513 + 1, False)])
def test_the_bound_of_tiles(height: int, width: int, fits: bool) -> None:
    """512 tiles are read, 513 are not, and the refusal is at once."""
    nothing = StoredEngine(np.zeros((1, 5, 2), np.uint8), np.zeros((1, 5, 4), np.uint8))
    detector = Detector(contract(), nothing)
    picture = np.zeros((height, width), np.uint8)
    if fits:
        assert detector.read(picture)["tiles"] == TILE_LIMIT
    else:
        with pytest.raises(PictureTooLarge, match="the picture has 513 tiles, more than 512"):
            detector.read(picture)


def test_the_bound_of_time() -> None:
    """A picture that takes too long is given up, and the next one is answered."""
    nothing = StoredEngine(np.zeros((1, 5, 2), np.uint8), np.zeros((1, 5, 4), np.uint8))
    detector = Detector(contract(), nothing, time_limit_s=0.0)
    for _ in range(2):
        with pytest.raises(TookTooLong, match="0 of 3 tiles were read in 0 s"):
            detector.read(marked(shape=(16, 32)))


@pytest.mark.parametrize(
    ("scores", "boxes", "said"),
    [
        (np.nan, 0.0, "a score that is no number"),
        (np.inf, 0.0, "a score that is no number"),
        (0.1, np.nan, "a box that is no number"),
        (0.1, -np.inf, "a box that is no number"),
        (0.9, 1e4, "a box that is no number"),  # whose size overflows
    ],
)
def test_what_is_no_number_is_no_answer(scores: float, boxes: float, said: str) -> None:
    """A single NaN or infinity anywhere refuses the whole picture, even in a box that nobody asks for."""
    plain = {"output": Tensor((1, 5, 2), "float32"), "boxes": Tensor((1, 5, 4), "float32")}
    all_scores, all_boxes = np.zeros((1, 5, 2), np.float32), np.zeros((1, 5, 4), np.float32)
    all_scores[0, 3, 1], all_boxes[0, 3, 2] = scores, boxes
    engine = StoredEngine(all_scores, all_boxes)
    engine.outputs = tuple(
        tensor._replace(dtype="float32", scale=0.0, zero_point=0) for tensor in MARKS.outputs
    )
    with pytest.raises(ArithmeticError, match=said):
        Detector(contract(**plain), engine).read(marked(shape=(16, 16)))


def test_an_unlikely_box_may_be_vast() -> None:
    """What is no detection is not decoded: its size may overflow."""
    plain = {"output": Tensor((1, 5, 2), "float32"), "boxes": Tensor((1, 5, 4), "float32")}
    engine = StoredEngine(np.zeros((1, 5, 2), np.float32), np.full((1, 5, 4), 1e4, np.float32))
    engine.outputs = tuple(
        tensor._replace(dtype="float32", scale=0.0, zero_point=0) for tensor in MARKS.outputs
    )
    assert Detector(contract(**plain), engine).read(marked(shape=(16, 16)))["detections"] == []
