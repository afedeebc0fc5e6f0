"""Reading the contract of a detector that may be wrong, and writing one."""

import json
from typing import Any

import pytest
from any_json import FINITE, spoiled
from hypothesis import given, settings
from tiny_detector import detection_terms, marks_contract, seen

from fleetctl.artifact import Contract, GoldenDetection
from fleetctl.errors import BuildError

GOOD: dict[str, Any] = marks_contract().to_mapping()
FOUND = {"label": "disc", "score": 0.9, "box": [0.0, 1.5, 4.0, 8.0]}


def read(**changes: Any) -> Contract:
    return Contract.from_json(json.dumps({**GOOD, **changes}).encode())


def test_what_is_written_is_read() -> None:
    """Both outputs, the terms and the golden scenes come back as they were."""
    contract = Contract.from_json(marks_contract().to_json())
    assert contract == marks_contract()
    assert contract.golden[0] == seen(("disc", 0, 0), ("bar", 8, 16))
    assert isinstance(contract.golden[0][0], GoldenDetection)


def test_a_classifiers_contract_is_what_it_was() -> None:
    """Contracts of classifiers have no word of boxes: artifacts that exist keep their digests."""
    one = {"task": "classification", "boxes": None, "detection": None}
    plain = {key: value for key, value in GOOD.items() if key not in one}
    data = json.dumps(
        {**plain, "task": "classification", "golden": [{"label": "disc", "score": 0.9}]}
    ).encode()
    said = Contract.from_json(data).to_mapping()
    assert {"boxes", "detection"} & set(said) == set()
    assert said == json.loads(data)


def tensor(name: str, **changes: Any) -> dict[str, Any]:
    return {name: {**GOOD[name], **changes}}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"boxes": None}, "boxes: expected an object"),
        (tensor("boxes", shape=[1, 5, 3]), "boxes.shape: expected [1, 5, 4] for as many anchors"),
        (tensor("boxes", shape=[1, 6, 4]), "boxes.shape: expected [1, 5, 4] for as many anchors"),
        (tensor("boxes", shape=[5, 4]), "boxes.shape: expected 3 sizes, the first of them 1"),
        (tensor("boxes", shape=[1, 1 << 40, 4]), "boxes.shape: expected a whole number from 1 to 262144"),
        (tensor("boxes", dtype=5), "boxes.dtype: expected a text"),
        (tensor("boxes", scale="1"), "boxes.scale: expected a finite number"),
        (tensor("boxes", zero_point=0.5), "boxes.zero_point: expected a whole number"),
        (tensor("output", shape=[1, 10]), "output.shape: expected 3 sizes"),
        (
            tensor("output", shape=[1, 5, 3]),
            "output.shape: expected [1, 5, 2], scores of each anchor and label",
        ),
        (tensor("input", shape=[1, 16, 16]), "input.shape: expected 4 sizes"),
        ({"preprocess": {"shape": [16, 8, 1]}}, "preprocess.shape: expected the input's [16, 16, 1]"),
        ({"preprocess": {}}, "preprocess.shape: expected an array"),
        ({"detection": None}, "detection: expected an object"),
        ({"detection": []}, "detection: expected an object"),
        ({"detection": detection_terms(maps=[])}, "detection.maps: expected 1 to 16 maps"),
        ({"detection": detection_terms(maps=[5])}, "detection.maps[0]: expected an object"),
        (
            {"detection": detection_terms(maps=[{"stride": 0, "anchors": [[8, 8]]}])},
            "detection.maps[0].stride: expected a whole number from 1 to 1024",
        ),
        (
            {"detection": detection_terms(maps=[{"stride": 8, "anchors": []}])},
            "detection.maps[0].anchors: expected 1 to 64 anchors",
        ),
        (
            {"detection": detection_terms(maps=[{"stride": 8, "anchors": [[8, 0]]}])},
            "detection.maps[0].anchors[0]: expected numbers over 0, at most 16384",
        ),
        (
            {"detection": detection_terms(maps=[{"stride": 8, "anchors": [[8]]}])},
            "detection.maps[0].anchors[0]: expected 2 numbers",
        ),
        ({"detection": detection_terms(scales=[10, 10, 5])}, "detection.scales: expected 4 numbers"),
        ({"detection": detection_terms(scales=[10, 10, 5, 0])}, "detection.scales: expected numbers over 0"),
        ({"detection": detection_terms(min_score=1.1)}, "detection.min_score: expected a number from 0 to 1"),
        ({"detection": detection_terms(max_iou="half")}, "detection.max_iou: expected a finite number"),
        ({"detection": detection_terms(most=0)}, "detection.most: expected a whole number from 1 to 1000"),
        ({"detection": detection_terms(overlap=9)}, "detection.overlap: expected a whole number from 0 to 8"),
        ({"golden": [FOUND]}, "golden[0]: expected an array, got an object"),
        ({"golden": [[{**FOUND, "label": "A1"}]]}, "golden[0][0].label: 'A1' is not one of the labels"),
        (
            {"golden": [[{**FOUND, "box": [0, 0, 4]}]]},
            "golden[0][0].box: expected x0, y0, x1, y1 with x0 < x1",
        ),
        ({"golden": [[{**FOUND, "box": [4, 0, 4, 9]}]]}, "golden[0][0].box: expected x0, y0, x1, y1"),
        ({"golden": [[{**FOUND, "box": [0, 0, 1e9, 9]}]]}, "golden[0][0].box[2]: expected a number from"),
        (
            {"golden": [[FOUND] * 300]},
            "golden[0]: expected fewer than 300 detections, the most that are told",
        ),
        ({"golden": [[FOUND] * 299] * 4}, "golden: expected at most 1000 detections in all"),
    ],
)
def test_a_malformed_contract_is_refused(change: dict[str, Any], says: str) -> None:
    """The message names the place, and nothing is allocated by a number that nobody checked."""
    with pytest.raises(BuildError) as caught:
        read(**change)
    assert caught.value.message.startswith(f"contract.json: {says}")


def test_outputs_that_look_alike_are_refused() -> None:
    """A model whose scores and boxes have one shape, type and scale is not built."""
    alike = {"shape": [1, 5, 4], "dtype": "float32", "scale": 0.0, "zero_point": 0}
    with pytest.raises(BuildError, match="boxes: cannot be told from output"):
        read(labels=["a", "b", "c", "d"], output=alike, boxes=alike, golden=[])


@given(spoiled(json.loads(json.dumps(GOOD)), FINITE))
@settings(max_examples=200, deadline=None)
def test_any_json_is_read_or_refused(contract: Any) -> None:
    """Whatever stands in any place of a contract: one clear error, or a contract to be written again."""
    try:
        read_again = Contract.from_json(json.dumps(contract).encode())
    except BuildError as error:
        assert error.message.startswith("contract.json: ")
    else:
        assert Contract.from_json(read_again.to_json()) == read_again
