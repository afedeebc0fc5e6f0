"""`fleetctl models compatible`: which kind of board can load which variant?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetctl.cli.models.given import model_of
from fleetctl.cli.options import DEFAULT_MANIFEST, FileOption, Output, OutputOption

if TYPE_CHECKING:
    from fleetctl.compatibility.matrix import Place
    from fleetctl.compatibility.requirements import Requirements
    from fleetctl.compatibility.rules import Refusal

    Answers = dict[Place, dict[str, tuple[Refusal, ...]]]

COMPATIBLE_SCHEMA = "fleetctl.compatible/v1"


def compatible(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A model of the manifest, or a .tflite file.", show_default=False
        ),
    ],
    file: FileOption = DEFAULT_MANIFEST,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say which kinds of board can load a model, and what to do about the others.

    A kind is judged as it comes, plain and with an Edge TPU plugged in. Boards of a fleet may have other
    runtimes: `fleetctl plan` judges those by the manifest and by what they report.
    """
    from fleetctl.compatibility.matrix import places
    from fleetctl.report.console import emit_json

    needs = _of_file(Path(model)) if model.endswith(".tflite") else _of_model(model, file)
    answers = {place: {name: place.refusals(need) for name, need in needs.items()} for place in places()}
    if output is Output.JSON:
        emit_json(COMPATIBLE_SCHEMA, _data(model, needs, answers))
    else:
        _tell(needs, answers, markdown=output is Output.MARKDOWN)


def _of_file(path: Path) -> "dict[str, Requirements]":
    from fleetctl.models.edgetpu.flatbuffer import naming, read_file
    from fleetctl.models.requirements import requirements

    model = read_file(path)
    with naming(path):
        return {path.name: requirements(model)}


def _of_model(model: str, file: Path) -> "dict[str, Requirements]":
    from fleetctl.build.resolve import current_models, load_artifact
    from fleetctl.manifest.loader import load
    from fleetctl.models.requirements import requirements
    from fleetctl.project import Project
    from fleetctl.report.console import talk

    fleet, project = load(file), Project(file)
    model_of(fleet, model)
    locked = current_models(fleet, project, [model])[model]
    built = {name: variant for name, variant in locked.variants.items() if not variant.pending}
    if 0 < len(built) < len(locked.variants):
        pending = ", ".join(name for name in locked.variants if name not in built)
        talk.note(f"without {pending}, which is pending: a machine with edgetpu_compiler builds it")
    return {
        name: variant.requires or requirements(load_artifact(project, fleet, model, name)[1])
        for name, variant in (built or locked.variants).items()
    }


def _data(model: str, needs: "dict[str, Requirements]", answers: "Answers") -> dict[str, Any]:
    return {
        "model": model,
        "variants": {name: {"tflite": str(need.tflite), **need.to_json()} for name, need in needs.items()},
        "boards": [
            {
                "board": place.kind,
                "attached": place.attached,
                "variant": name,
                "ok": not refusals,
                "refusals": [refusal.to_json() for refusal in refusals],
            }
            for place, variants in answers.items()
            for name, refusals in variants.items()
        ],
    }


def _tell(needs: "dict[str, Requirements]", answers: "Answers", *, markdown: bool) -> None:
    """Which board takes which variant, and below it what speaks against the others."""
    from textwrap import fill

    from fleetctl.report.console import emit_markdown_table, emit_table, emit_text

    numbers: dict[Refusal, int] = {}
    rows = []
    for place, variants in answers.items():
        for refusals in variants.values():
            for refusal in refusals:
                numbers.setdefault(refusal, len(numbers) + 1)
        marks = [", ".join(f"no ({numbers[r]})" for r in refusals) or "ok" for refusals in variants.values()]
        rows.append([str(place), *marks])
    emit = emit_markdown_table if markdown else emit_table
    emit(["board", *needs], rows)
    for refusal, number in numbers.items():
        emit_text("\n" + fill(f"({number}) {refusal}: {refusal.fix}", 100, subsequent_indent="    "))
    told = "; ".join(f"{name} needs {need}" for name, need in needs.items())
    emit_text("\n" + fill(told, 100))
