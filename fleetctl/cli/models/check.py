"""`fleetctl models check`: what the Edge TPU compiler will make of a model, without the compiler."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetctl.cli.options import Output, OutputOption, finite
from fleetctl.cli.result import show

if TYPE_CHECKING:
    from fleetctl.models.edgetpu.prediction import OpPrediction, Prediction

CHECK_SCHEMA = "fleetctl.edgetpu-check/v1"
COLUMNS = ["operation", "version", "count", "runs on", "why"]


def check(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A .tflite file, as the converter wrote it.", show_default=False),
    ],
    require_share: Annotated[
        float,
        typer.Option(
            "--require-share",
            min=0.0,
            max=1.0,
            callback=finite,
            help="Exit 21 if a smaller share is mapped.",
        ),
    ] = 0.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Predict which operations of a model run on the Edge TPU, and what keeps the others off it.

    The prediction is of edgetpu_compiler 16.0 and takes the file alone: neither the compiler nor TensorFlow.
    """
    from fleetctl.errors import GateRefused
    from fleetctl.models.edgetpu.flatbuffer import naming, read_file
    from fleetctl.models.edgetpu.prediction import predict

    model = read_file(file)
    with naming(file):
        prediction = predict(model)
    _emit(file, prediction, output)
    if prediction.share < require_share:
        raise GateRefused(
            f"{_percent(prediction.share)} of the operations would run on the Edge TPU, under "
            f"the {_percent(require_share)} required",
            hint="change what the table names, or ask for less",
        )


def _emit(file: Path, prediction: "Prediction", output: Output) -> None:
    from fleetctl.report.console import emit_text

    facts = {"file": file.name, **_facts(prediction)}
    show(output, schema=CHECK_SCHEMA, data=facts, columns=COLUMNS, rows=_rows(prediction))
    if output is not Output.JSON:
        emit_text("\n" + "\n".join(_summary(prediction)))


def _facts(prediction: "Prediction") -> dict[str, Any]:
    return {
        "mapped": prediction.mapped,
        "total": prediction.total,
        "share": prediction.share,
        "subgraphs": prediction.subgraphs,
        "refusal": prediction.refusal or None,
        "ops": [_op_facts(op) for op in prediction.ops],
    }


def _op_facts(op: "OpPrediction") -> dict[str, Any]:
    return {
        "index": op.index,
        "subgraph": op.subgraph,
        "op": op.op,
        "version": op.version,
        "mapped": op.mapped,
        "reason": op.reason.what if op.reason else None,
        "layer": op.reason.layer if op.reason else None,
        "advice": op.reason.advice or None if op.reason else None,
    }


def _rows(prediction: "Prediction") -> list[list[str]]:
    """One row for each kind of operation and reason, in the order of their first appearance."""
    kinds = Counter((op.op, op.version, op.reason.what if op.reason else "") for op in prediction.ops)
    return [
        [name, str(version), str(count), "CPU" if why else "Edge TPU", why]
        for (name, version, why), count in kinds.items()
    ]


def _summary(prediction: "Prediction") -> list[str]:
    from fleetctl.models.edgetpu.prediction import causes

    lines = [
        f"{prediction.mapped} of {prediction.total} operations ({_percent(prediction.share)}) "
        "would run on the Edge TPU"
    ]
    if prediction.refusal:
        lines.append(f"the compiler rejects the model: {prediction.refusal}")
    if prediction.subgraphs > 1:
        lines.append(
            f"it has {prediction.subgraphs} subgraphs; the compiler maps operations of the first only"
        )
    first = next(causes(prediction), None)
    if first and first.reason:
        place = f"operation {first.index}" + (f" of subgraph {first.subgraph}" if first.subgraph else "")
        lines.append(f"first cause: {place}, {first.op}: {first.reason.what}")
        lines.append(f"      layer: {first.reason.layer}")
        lines.append(f"     change: {first.reason.advice}")
    return lines


def _percent(share: float) -> str:
    """Never rounded up to 100 %."""
    return f"{int(1000 * share) / 10:.1f} %"
