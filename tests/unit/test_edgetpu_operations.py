"""What the Edge TPU makes of single operations: cases from a file, each a model that is written and read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tiny_tflite import Net, encode

from fleetctl.models.edgetpu.graph import Graph
from fleetctl.models.edgetpu.prediction import predict

CASES = yaml.safe_load((Path(__file__).parents[1] / "cases/edgetpu/operations.yaml").read_text())


def constant(net: Net, given: object, dtype: str) -> int:
    if isinstance(given, Mapping) and "weights" in given:
        kind = given.get("dtype", "INT8")
        return net.constant(np.ones(given["weights"]), kind)
    if isinstance(given, Mapping):
        return net.constant(given["values"], dtype)
    return net.constant(given, "INT32")


def model(case: Mapping[str, Any]) -> Graph:
    """The operation between a quantized input, so that the model is one the compiler takes, and nothing."""
    net = Net((1, 4))
    dtype = case.get("dtype", "INT8")
    first = [net.tensor(shape, dtype) for shape in case["data"]]
    constants = [constant(net, given, dtype) for given in case.get("constants", [])]
    last = [net.tensor(shape, dtype) for shape in case.get("data_after", [])]
    net.inputs += [*first, *last]
    net.op("LOGISTIC", [net.input], (1, 4))
    output = net.op(
        case["op"],
        [*first, *constants, *last],
        case["output"],
        case.get("output_dtype", dtype),
        options=case.get("options"),
    )
    return net.graph(output)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_an_operation_is_mapped_or_says_why_not(case: Mapping[str, Any]) -> None:
    """Each case is judged as it says, for a reason that names a layer and what to change."""
    judged = predict(encode(model(case))).ops[-1]

    assert case["says"] == (judged.reason.what if judged.reason else None)
    if judged.reason:
        assert judged.reason.layer
        assert judged.reason.advice
