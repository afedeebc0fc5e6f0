"""`fleetctl models compare`: what each variant of a model costs, and what it loses."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetctl.cli.bars import Bars
from fleetctl.cli.models.given import demand_photos, demand_png, demand_reader, model_of, write_result
from fleetctl.cli.options import DEFAULT_MANIFEST, FileOption, Output, OutputOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetctl.lockfile import ClassDrop
    from fleetctl.manifest.schema import Fleet, Model, VariantName
    from fleetctl.models.compare import Compared, Operations
    from fleetctl.models.samples import Samples
    from fleetctl.project import Project

COMPARE_SCHEMA = "fleetctl.comparison/v1"
COLUMNS = ["variant", "KiB", "top-1", "vs float32", "worst sign", "mean ms", "p50", "p95", "Edge TPU"]


def compare(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model of the manifest.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="A folder of photos instead of what the dataset keeps for evaluation."),
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw accuracy, size and time: a PNG.")] = None,
    file: FileOption = DEFAULT_MANIFEST,
    output: OutputOption = Output.TABLE,
) -> None:
    """Hold the built variants of a model against each other: size, accuracy, time, operations, Edge TPU.

    Every variant answers the same photos; drops are against float32, in points. Time is of one inference on
    one thread of this machine. `Edge TPU` is the share of operations that its compiler is predicted to map.
    Variants that a gate refused are shown too: this is where to see why.
    """
    from fleetctl.manifest.loader import load
    from fleetctl.project import Project

    demand_png(plot)
    if data is not None:
        demand_photos(data)
    fleet = load(file)
    described = model_of(fleet, model)
    demand_reader(described, "variants are compared of readers")
    compared = _compared(described, fleet, Project(file), data)
    _emit(model, compared, output)
    _note_the_rest(described, [one.variant for one in compared])
    if plot is not None:
        _draw(compared, plot)


def _compared(model: "Model", fleet: "Fleet", project: "Project", data: Path | None) -> "list[Compared]":
    from fleetctl.build.built import built_variants, open_artifact
    from fleetctl.models import compare as measure

    artifacts = built_variants(model, fleet, project)
    built = {
        variant: measure.Built(*open_artifact(artifact, project)) for variant, artifact in artifacts.items()
    }
    samples = _samples(model, fleet, project, data)
    with ExitStack() as stack:
        return measure.compare(built, samples, progress=Bars(stack))


def _samples(model: "Model", fleet: "Fleet", project: "Project", data: Path | None) -> "Samples":
    from msgspec.structs import replace

    from fleetctl.build.inputs import cache_folder
    from fleetctl.manifest.schema import FolderDataset
    from fleetctl.models import datasets, photos

    if data is not None:
        samples = photos.read(data)
        datasets.demand_signs(data, samples)
        return samples
    dataset = model.dataset
    if isinstance(dataset, FolderDataset):
        dataset = replace(dataset, rendered=0)  # drawings are for learning; drawing them takes time
    return datasets.load(dataset, base=fleet.directory, cache=cache_folder(project)).evaluation


def _emit(model: str, compared: "Sequence[Compared]", output: Output) -> None:
    from fleetctl.report.console import emit_json, emit_markdown_table, emit_table, emit_text

    if output is Output.JSON:
        emit_json(COMPARE_SCHEMA, {"model": model, "variants": [_facts(one) for one in compared]})
        return
    emit = emit_markdown_table if output is Output.MARKDOWN else emit_table
    emit(COLUMNS, [_row(one) for one in compared])
    emit_text("")
    emit(["operation", *(one.variant for one in compared)], _operation_rows(compared))


def _row(one: "Compared") -> list[str]:
    evaluation, latency, worst = one.evaluation, one.latency, one.worst_class
    return [
        one.variant,
        f"{one.size / 1024:,.0f}",
        f"{100 * evaluation.top1:.1f} %" if evaluation else "-",
        _points(one.drop),
        _worst(worst),
        *([f"{ms:.2f}" for ms in (latency.mean, latency.p50, latency.p95)] if latency else ["-"] * 3),
        _share(one),
    ]


def _points(drop: float | None) -> str:
    """A drop in points; what is gained has a plus."""
    if drop is None:
        return "-"
    return f"{-100 * drop:+.1f}" if round(1000 * drop) else "0.0"


def _worst(worst: "ClassDrop | None") -> str:
    """The sign that lost most; a sign is named only if it lost something."""
    if worst is None:
        return "-"
    return f"{worst.label} {_points(worst.drop)}" if worst.drop > 0 else "0.0"


def _share(one: "Compared") -> str:
    if one.tpu_refusal:
        return "refused"
    return "compiled" if one.tpu_share is None else f"{int(100 * one.tpu_share)} %"


def _operation_rows(compared: "Sequence[Compared]") -> list[list[str]]:
    from fleetctl.models.compare import kinds

    rows = []
    for op in kinds(compared):
        found = [next((kind for kind in one.operations if kind.op == op), None) for one in compared]
        rows.append([op, *(_count(kind) for kind in found)])
    return rows


def _count(kind: "Operations | None") -> str:
    """How many, and in which versions: `35 v3`."""
    if kind is None:
        return "-"
    return f"{kind.count} {','.join(f'v{version}' for version in kind.versions)}"


def _facts(one: "Compared") -> dict[str, Any]:
    evaluation, latency, worst = one.evaluation, one.latency, one.worst_class
    return {
        "variant": one.variant.value,
        "size": one.size,
        "n": evaluation.n if evaluation else None,
        "top1": evaluation.top1 if evaluation else None,
        "drop": one.drop,
        "worst_class": {"sign": worst.label, "drop": worst.drop} if worst else None,
        "latency_ms": {"mean": latency.mean, "p50": latency.p50, "p95": latency.p95} if latency else None,
        "operations": [
            {"op": kind.op, "count": kind.count, "versions": list(kind.versions)} for kind in one.operations
        ],
        "edgetpu": {"share": one.tpu_share, "refusal": one.tpu_refusal or None},
    }


def _note_the_rest(model: "Model", compared: "Sequence[VariantName]") -> None:
    from fleetctl.manifest.schema import VariantName
    from fleetctl.report.console import talk

    missing = [variant for variant in model.variants if variant not in compared]
    if missing:
        where = " on a machine with edgetpu_compiler" if _is_left_to_ci(model, missing) else ""
        talk.warn(f"not built: {', '.join(missing)}; run `fleetctl build {model.name}`{where}")
    if VariantName.FLOAT32 not in compared:
        talk.warn("float32 is not built, so there is nothing to say what a variant loses against")


def _is_left_to_ci(model: "Model", variants: "Sequence[VariantName]") -> bool:
    from fleetctl.manifest.schema import EdgeTpuBuild, VariantName

    return VariantName.EDGETPU in variants and model.edgetpu.compile is EdgeTpuBuild.CI


def _draw(compared: "Sequence[Compared]", path: Path) -> None:
    from fleetctl.models.plots import comparison_png
    from fleetctl.report.console import talk

    write_result(path, comparison_png(compared))
    talk.done(f"drew {path}")
