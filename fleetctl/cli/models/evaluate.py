"""`fleetctl models evaluate`: what a built model is worth on photos."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetctl.cli.models.given import demand_photos, demand_reader, model_of
from fleetctl.cli.options import DEFAULT_MANIFEST, FileOption, Output, OutputOption, finite
from fleetctl.manifest.schema import VariantName

if TYPE_CHECKING:
    from fleetctl.models.evaluate import Evaluation, Rejection


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model of the manifest.")],
    data: Annotated[Path, typer.Option("--data", help="A folder of photos: *_CODE.png or CODE/*.png.")],
    variant: Annotated[VariantName, typer.Option("--variant", help="Which built file.")] = VariantName.INT8,
    threshold: Annotated[
        float,
        typer.Option(
            "--threshold", min=0.0, max=1.0, callback=finite, help="Answers that score less are UNKNOWN."
        ),
    ] = 0.5,
    file: FileOption = DEFAULT_MANIFEST,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say how often a built model reads the photos of a folder rightly, in all and sign by sign.

    Every labelled photo counts: one of a sign the model was never taught is an error. A label that is no sign
    is refused. What the threshold rejects is told apart: of the labelled photos, and of those labelled
    UNKNOWN, which ought to be rejected.
    """
    from fleetctl.build.resolve import load_artifact
    from fleetctl.manifest.loader import load
    from fleetctl.models import datasets
    from fleetctl.models import evaluate as measure
    from fleetctl.models.edgetpu.flatbuffer import naming
    from fleetctl.project import Project
    from fleetctl.report.console import talk

    demand_photos(data)
    fleet = load(file)
    demand_reader(model_of(fleet, model), "photos of single signs are read by readers")
    contract, tflite = load_artifact(Project(file), fleet, model, variant)
    samples = measure.read(data)
    datasets.demand_signs(data, samples, taught=contract.labels)
    measure.demand_labelled(samples)
    with naming(contract.model_file), talk.progress("evaluate", total=len(samples)) as advance:
        evaluation = measure.evaluate(
            tflite,
            contract.labels,
            contract.preprocess,
            contract.input,
            contract.output,
            samples,
            threshold=threshold,
            progress=lambda _stage, _done, _total: advance(1),
        )
    _emit(model, variant, evaluation, output)


def _emit(model: str, variant: VariantName, evaluation: "Evaluation", output: Output) -> None:
    from fleetctl.report.console import emit_json, emit_markdown_table, emit_table

    if output is Output.JSON:
        emit_json("fleetctl.evaluation/v1", {"model": model, "variant": variant.value, **_facts(evaluation)})
        return
    emit = emit_markdown_table if output is Output.MARKDOWN else emit_table
    emit(["sign", "photos", "right", "top-1"], _rows(evaluation))


def _facts(evaluation: "Evaluation") -> dict[str, object]:
    facts: dict[str, object] = {
        "n": evaluation.n,
        "top1": evaluation.top1,
        "n_seen": evaluation.n_seen,
        "top1_seen": evaluation.top1_seen,
        "per_class": {sign: {"n": n, "right": right} for sign, (n, right) in evaluation.per_class.items()},
    }
    if evaluation.rejection is not None:
        facts["rejection"] = _rejection_facts(evaluation.rejection)
    return facts


def _rejection_facts(rejection: "Rejection") -> dict[str, object]:
    return {
        "threshold": rejection.threshold,
        "labelled": {"n": rejection.labelled, "rejected": rejection.labelled - rejection.accepted},
        "unknown": {"n": rejection.unknown, "rejected": rejection.unknown_rejected},
        "accepted": {"n": rejection.accepted, "right": rejection.right, "top1": rejection.top1_accepted},
    }


def _rows(evaluation: "Evaluation") -> list[list[str]]:
    rows = [_row(sign, n, right) for sign, (n, right) in evaluation.per_class.items()]
    right_seen = round(evaluation.top1_seen * evaluation.n_seen)
    rows.append(_row("of taught signs", evaluation.n_seen, right_seen))
    if evaluation.rejection is not None:
        rejection = evaluation.rejection
        rows.append(_row("UNKNOWN, rejected", rejection.unknown, rejection.unknown_rejected))
        rows.append(_row(f"scored {rejection.threshold:g} or more", rejection.accepted, rejection.right))
    rows.append(_row("all", evaluation.n, round(evaluation.top1 * evaluation.n)))
    return rows


def _row(name: str, n: int, right: int) -> list[str]:
    return [name, str(n), str(right), f"{100 * right / n:.1f} %" if n else "-"]
