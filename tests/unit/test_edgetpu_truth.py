"""The predictor and the reader of compiled files against what Google's compiler really did.

The labelled models stay outside the project. They come from ten repositories and compilers 1.0 to 16.0.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetctl.errors import BuildError
from fleetctl.models.edgetpu import support
from fleetctl.models.edgetpu.compiled import inspect
from fleetctl.models.edgetpu.compiler_result import accept
from fleetctl.models.edgetpu.flatbuffer import read
from fleetctl.models.edgetpu.graph import ABSENT, Graph, Operation, Tensor
from fleetctl.models.edgetpu.prediction import Prediction, predict, predict_graph

Row = dict[str, object]


@pytest.fixture(scope="module")
def truth(shared_data: Path) -> dict[str, list[dict[str, object]]]:
    """Model -> its operations with their labels, in the order of the file."""
    models: dict[str, list[dict[str, object]]] = {}
    for line in (shared_data / "edgetpu/op_labels.jsonl").read_text().splitlines():
        row = json.loads(line)
        models.setdefault(row["pair"], []).append(row)
    return models


def graph_of(rows: list[dict]) -> Graph:
    """A graph from labels, which name no tensors: an input is the newest tensor that looks like it."""
    tensors: list[Tensor] = []
    operations, inputs = [], []

    def add(facts: dict, *, constant: bool) -> int:
        name = f"t{len(tensors)}"
        tensors.append(
            Tensor(name, tuple(facts["shape"]), facts["type"], constant=constant, scales=facts["nscales"])
        )
        return len(tensors) - 1

    def source(facts: dict | None) -> int:
        if facts is None:
            return ABSENT
        if facts["const"]:
            return add(facts, constant=True)
        alike = (i for i in reversed(range(len(tensors))) if _looks_like(tensors[i], facts))
        found = next(alike, None)
        if found is None:
            inputs.append(add(facts, constant=False))
            return inputs[-1]
        return found

    for row in rows:
        read_ = tuple(source(facts) for facts in row["inputs"])
        written = tuple(add(facts, constant=False) for facts in row["outputs"])
        operations.append(Operation(row["op"], row["version"], read_, written))
    return Graph(tuple(tensors), tuple(operations), tuple(inputs), operations[-1].outputs)


def _looks_like(tensor: Tensor, facts: dict) -> bool:
    return not tensor.constant and (list(tensor.shape), tensor.dtype) == (facts["shape"], facts["type"])


def wrong(prediction: Prediction, rows: list[dict]) -> list[str]:
    """Operations predicted otherwise than they were compiled."""
    return [
        f"{row['idx']} {row['op']}: {op.reason}"
        for op, row in zip(prediction.ops, rows, strict=True)
        if op.mapped != (row["label"] == "TPU")
    ]


def test_every_labelled_operation_is_predicted(truth: dict) -> None:
    """All operations of all 71 models, from their shapes and types alone."""
    predicted = {name: wrong(predict_graph(graph_of(rows)), rows) for name, rows in truth.items()}

    assert {} == {name: operations for name, operations in predicted.items() if operations}
    assert sum(len(rows) for rows in truth.values()) > 2500


def test_every_model_file_is_predicted(truth: dict, shared_data: Path) -> None:
    """The same from the files: every one exact, mapped whole or in part."""
    checked = 0
    for name, rows in truth.items():
        file = shared_data / "edgetpu/models" / Path(name).name
        if file.is_file():
            prediction = predict(file.read_bytes())

            assert [(r["op"], r["version"]) for r in rows] == [(op.op, op.version) for op in prediction.ops]
            assert [] == wrong(prediction, rows), name
            checked += 1
    assert checked >= 30


def test_reasons_are_those_of_the_real_logs(shared_data: Path) -> None:
    """Kinds and counts of mapped operations in the compiler's log of a model are the predicted ones."""
    checked = 0
    for log in sorted((shared_data / "edgetpu/logs").glob("*_edgetpu.log")):
        file = shared_data / "edgetpu/models" / f"{log.name.removesuffix('_edgetpu.log')}.tflite"
        if file.is_file():
            rows = (line.split() for line in log.read_text().splitlines() if "Mapped to Edge TPU" in line)
            mapped = {row[0]: int(row[1]) for row in rows}
            ops = [op.op for op in predict(file.read_bytes()).ops if op.mapped]

            assert mapped == {op: ops.count(op) for op in ops}
            checked += 1
    assert checked >= 15


def test_no_rule_is_needed_for_what_one_source_alone_maps(truth: dict) -> None:
    """Every kind of operation that any source maps is in the documented table, not in a list made to fit."""
    kinds = {row["op"] for rows in truth.values() for row in rows if row["label"] == "TPU"}

    assert kinds <= support.SUPPORTED


def pairs(shared_data: Path) -> Iterator[tuple[Path, Row]]:
    """Compiled files that are here, each with what was measured of it. Several pairs share a file name."""
    with (shared_data / "edgetpu/pairs.tsv").open() as table:
        for row in csv.DictReader(table, delimiter="\t"):
            file = shared_data / "edgetpu/models" / f"{Path(row['base']).stem}_edgetpu.tflite"
            if file.is_file() and file.stat().st_size == int(row["compiled_bytes"]):
                yield file, row


def test_every_compiled_file_is_read(shared_data: Path) -> None:
    """Custom operations, minimum runtime, bytes on and off chip and what is left on the processor."""
    checked = 0
    for file, row in pairs(shared_data):
        found = inspect(file.read_bytes())
        names = ("n_edgetpu_custom_op", "min_runtime", "onchip_param_bytes", "offchip_param_bytes")

        assert [int(row[name]) for name in names] == [
            *(found.custom_ops, found.min_runtime, found.on_chip, found.off_chip),
        ], file.name
        assert json.loads(row["left_on_cpu"]) == dict(found.cpu_ops), file.name
        checked += 1
    assert checked >= 30


def test_every_compiled_file_is_accepted_for_its_source_and_no_other(shared_data: Path) -> None:
    """Ends and what is left agree in every pair; a file of another model is refused by its ends."""
    files = sorted((shared_data / "edgetpu/models").glob("*_edgetpu.tflite"))
    odd = (shared_data / "edgetpu/models/dense_256.tflite").read_bytes()
    for file in files:
        source = file.with_name(file.name.replace("_edgetpu", "")).read_bytes()
        prediction = predict(source)
        said = (
            f"Total number of operations: {prediction.total}\n"
            f"Number of operations that will run on Edge TPU: {prediction.mapped}\n"
            f"Number of operations that will run on CPU: {prediction.total - prediction.mapped}\n"
        )

        assert prediction.share == accept(source, file.read_bytes(), said, "").tpu_ops
        if source != odd:
            with pytest.raises(BuildError, match="another model than it was given"):
                accept(odd, file.read_bytes(), said, "")
    assert len(files) >= 30


def test_every_real_file_is_a_graph(shared_data: Path) -> None:
    """Base and compiled files alike are read, tensors with their names."""
    files = sorted((shared_data / "edgetpu/models").glob("*.tflite"))

    assert files
    for file in files:
        graph = read(file.read_bytes()).main

        assert graph.operations, file.name
        assert all(tensor.name for tensor in graph.tensors), file.name
