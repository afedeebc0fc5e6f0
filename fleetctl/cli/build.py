"""`fleetctl build`: recipes in, locked artifacts out."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetctl.cli import complete
from fleetctl.cli.bars import Bars
from fleetctl.cli.options import DEFAULT_MANIFEST, FileOption, Output, OutputOption
from fleetctl.cli.result import show

if TYPE_CHECKING:
    from fleetctl.build.builder import BuildResult
    from fleetctl.lockfile import LockedVariant
    from fleetctl.manifest.schema import Fleet
    from fleetctl.project import Project

BUILD_SCHEMA = "fleetctl.build/v1"
COLUMNS = ["model", "variant", "top-1", "drop", "worst sign", "size", "samples", "artifact", "built"]


def build(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL...]", help="Models to build. Default: all.", autocompletion=complete.models
        ),
    ] = None,
    file: FileOption = DEFAULT_MANIFEST,
    force: Annotated[
        bool, typer.Option("--force", help="Build from scratch, whatever the lock says.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Build nothing: fail unless all is up to date.")
    ] = False,
    changed: Annotated[
        bool,
        typer.Option("--changed", help="Build nothing: name the models and images that the lock lacks."),
    ] = False,
    images: Annotated[
        bool,
        typer.Option("--images", help="Make module images anew, from the base as it is today."),
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Build the models that changed, and hold them against their gates.

    What passes is locked in model_artifacts/fleet.lock; what a gate refuses leaves the lock as it was.

    For boards via iothub, images with these models are made for each processor, pushed to the registry of
    the manifest, and locked by digest.
    """
    from fleetctl.build import builder as library
    from fleetctl.cli.build_images import bring_images
    from fleetctl.manifest.loader import load
    from fleetctl.project import Project
    from fleetctl.report.console import talk

    _refuse_together(force=force, check=check, changed=changed, images=images)
    if changed:
        from fleetctl.cli.build_changed import show_changed

        show_changed(file, models or [], output)
        return
    fleet, project, names = load(file), Project(file), models or []
    if check:
        result, took = library.check(fleet, project, models=names), ""
    else:
        result, took = _built(fleet, project, names, force=force)
    _tell(result, took)
    chosen = [model.name for model in result.models]
    modules = bring_images(fleet, project, chosen, os.environ, check=check, anew=images)
    lock_changed = result.lock_changed or modules.lock_changed
    if lock_changed:
        talk.note("model_artifacts/fleet.lock changed: commit it")
    for line in _edgetpu_notes(result):
        talk.note(line)
    rows = list(_rows(result))
    data = {**_json(result), "lock_changed": lock_changed, "images": modules.images}
    show(output, schema=BUILD_SCHEMA, data=data, columns=COLUMNS, rows=rows)
    _tell_github(result, rows, lock_changed=lock_changed)


def _refuse_together(*, force: bool, check: bool, changed: bool, images: bool) -> None:
    from fleetctl.errors import UsageError

    if images and check:
        raise UsageError("--images makes images and --check does not", hint="give one of them")
    if force and check:
        raise UsageError("--force builds and --check does not", hint="give one of them")
    if changed and (force or check or images):
        raise UsageError("--changed only names models", hint="give it alone")


def _built(fleet: "Fleet", project: "Project", names: list[str], *, force: bool) -> "tuple[BuildResult, str]":
    """What was built, and how long each stage of it took."""
    from fleetctl.build import builder as library
    from fleetctl.cli.interrupted import told_if_interrupted

    kept = "" if force else "; what was finished is kept: run this again to go on"
    # What is told comes after the bar is gone.
    with told_if_interrupted(f"the lock is as it was{kept}"), ExitStack() as stack:
        bars = Bars(stack)
        result = library.build(fleet, project, models=names, force=force, progress=bars)
        return result, bars.took()


def _tell(result: "BuildResult", took: str) -> None:
    """What was built and why, and what a person should know of each model."""
    from fleetctl.build.inputs import made_by_another_builder
    from fleetctl.report.console import talk

    for model in result.built:
        talk.done(f"{model.name} built: {model.reason}")
    if took:
        talk.note(f"it took: {took}")
    if not result.built:
        talk.done("up to date")
    for model in result.models:
        for line in model.doubts:
            talk.warn(f"{model.name}: {line}")
        if model.note:
            talk.warn(model.note)
        if other := made_by_another_builder(model.locked.toolchain):
            talk.note(
                f"{model.name} is from builder {other} and stays; `fleetctl build --force {model.name}` "
                "makes it anew with this one"
            )


def _tell_github(result: "BuildResult", rows: list[list[str]], *, lock_changed: bool) -> None:
    import json

    from fleetctl.report import github
    from fleetctl.report.console import markdown_table

    github.summarize(f"### Models\n\n{markdown_table(COLUMNS, rows)}")
    built = json.dumps([model.name for model in result.built])
    github.set_outputs({"lock_changed": lock_changed, "built": built})


def _edgetpu_notes(result: "BuildResult") -> Iterator[str]:
    """What is still to be compiled, and where the compiler did otherwise than was predicted."""
    from fleetctl.lockfile import Compilation

    for model in result.models:
        for name, variant in model.locked.variants.items():
            if variant.pending:
                yield f"{model.name} {name} is pending: a machine with edgetpu_compiler builds it"
            if model.reason and isinstance(variant.edgetpu, Compilation):
                for line in variant.edgetpu.disagreements:
                    yield f"{model.name} {name} was predicted otherwise than it was compiled: {line}"


def _json(result: "BuildResult") -> dict[str, Any]:
    from fleetctl.lockfile import model_json

    models = {
        model.name: {**model_json(model.locked), "built": bool(model.reason), "reason": model.reason or None}
        for model in result.models
    }
    return {"models": models}


def _rows(result: "BuildResult") -> Iterator[list[str]]:
    for model in result.models:
        for name, variant in model.locked.variants.items():
            built = "pending" if variant.pending else "now" if model.reason else "before"
            yield [model.name, name, *_cells(variant), built]


def _cells(variant: "LockedVariant") -> list[str]:
    metrics = variant.metrics
    worst = metrics.worst_class
    return [
        f"{100 * metrics.top1:.1f} %",
        f"{100 * metrics.drop:+.1f}",
        f"{worst.label} {100 * worst.drop:+.1f}" if worst else "-",
        f"{metrics.size / 1024:,.0f} KiB",
        str(metrics.samples),
        variant.artifact.digest[:12],
    ]
