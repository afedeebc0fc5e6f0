"""Reading a contract that may be wrong."""

import json
from typing import Any

import pytest

from fleetctl.artifact import Contract
from fleetctl.errors import BuildError

GOOD: dict[str, Any] = {
    "schema": "fleetctl.contract/v1",
    "model": "reader",
    "variant": "int8",
    "task": "classification",
    "labels": ["G17", "N35"],
    "preprocess": {"shape": [96, 96, 1]},
    "input": {"shape": [1, 96, 96, 1], "dtype": "uint8", "scale": 1.0, "zero_point": 0},
    "output": {"shape": [1, 2], "dtype": "uint8", "scale": 0.00390625, "zero_point": 0},
    "golden": [{"label": "G17", "score": 0.97}],
    "score_tolerance": 0.15,
}


def test_a_good_contract_is_read() -> None:
    """Every field arrives with its type."""
    contract = Contract.from_json(json.dumps(GOOD).encode())

    assert contract.labels == ("G17", "N35")
    assert contract.input.shape == (1, 96, 96, 1)
    assert contract.golden[0].score == 0.97


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"schema": "fleetctl.contract/v9"},
            "schema: expected 'fleetctl.contract/v1', got 'fleetctl.contract/v9'",
        ),
        ({"labels": []}, "labels: expected at least one label, each once"),
        ({"labels": ["G17", "G17"]}, "labels: expected at least one label, each once"),
        ({"labels": ["G17", 5]}, r"labels\[1\]: expected a text, got a number"),
        ({"preprocess": None}, "preprocess: expected an object, got null"),
        ({"input": {**GOOD["input"], "shape": [1, 0]}}, r"input.shape\[1\]: expected at least 1, got 0"),
        (
            {"input": {**GOOD["input"], "zero_point": 0.5}},
            "input.zero_point: expected a whole number, got a number",
        ),
        (
            {"output": {**GOOD["output"], "scale": -1}},
            "output.scale: expected a number from 0 to inf, got -1",
        ),
        ({"output": {"shape": [1]}}, "output: 'dtype' is missing"),
        ({"golden": [{"label": "A1", "score": 1}]}, r"golden\[0\].label: 'A1' is not one of the labels"),
        ({"golden": [{"label": "G17", "score": "1"}]}, r"golden\[0\].score: expected a number, got a text"),
        ({"golden": {}}, "golden: expected an array, got an object"),
        ({"score_tolerance": 1.5}, "score_tolerance: expected a number from 0 to 1, got 1.5"),
        ({"score_tolerance": 10**400}, "score_tolerance: expected a finite number"),
    ],
)
def test_a_bad_contract_names_the_place(change: dict[str, Any], says: str) -> None:
    """A contract is not used in part."""
    with pytest.raises(BuildError, match=f"^contract.json: {says}$"):
        Contract.from_json(json.dumps({**GOOD, **change}).encode())


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not JSON: expecting value"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON: Exceeds the limit"),
        (b"\xff", "not UTF-8: byte 0 is 0xff"),
    ],
    ids=["empty", "deep", "huge number", "not text"],
)
def test_bytes_that_are_no_contract(data: bytes, says: str) -> None:
    """Whatever the bytes are, the answer is one sentence."""
    with pytest.raises(BuildError, match=f"^contract.json: {says}"):
        Contract.from_json(data)
