"""`fleetctl build --changed`: what the lock does not describe, for a pipeline that builds it in a matrix."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fleetctl.cli.options import Output
from fleetctl.cli.result import show

if TYPE_CHECKING:
    from fleetctl.images.fleet_images import Wanted
    from fleetctl.lockfile import LockedModel
    from fleetctl.manifest.schema import Model


def show_changed(file: Path, names: list[str], output: Output) -> None:
    """Models whose recipe or data are not those in the lock, and why: what a pipeline builds in a matrix.

    So is one whose compilation another machine left to the pipeline. Images are told apart from them: one may
    be missing though every model is locked, where a board came to the hub, or fleetctl itself has changed.
    """
    from fleetctl import lockfile
    from fleetctl.build.builder import choose
    from fleetctl.build.inputs import model_inputs
    from fleetctl.cli.build_images import missing_images
    from fleetctl.manifest.loader import load
    from fleetctl.project import Project
    from fleetctl.report.console import talk

    fleet, project = load(file), Project(file)
    lock = lockfile.read(project.lockfile)
    inputs = {model.name: model_inputs(model, fleet, project)[1] for model in choose(fleet, names)}
    stale = {
        name: why
        for name, digest in inputs.items()
        if (why := why_built(fleet.models[name], lock.models.get(name), digest))
    }
    missing = missing_images(fleet, project, inputs, os.environ)
    for each in missing:
        talk.note(f"module image of {each.model} {each.variant} for {each.platform} not made yet")
    data = {
        "models": {name: {"why": why, "inputs": inputs[name]} for name, why in stale.items()},
        "images": [
            {"model": each.model, "variant": each.variant, "platform": each.platform} for each in missing
        ],
    }
    rows = [[name, inputs[name][:12], why] for name, why in stale.items()]
    show(
        output,
        schema="fleetctl.changed/v1",
        data=data,
        columns=["model", "inputs", "why"],
        rows=rows,
        nothing="every model is as the lock says",
    )
    _tell_github({name: inputs[name] for name in stale}, missing)


def _tell_github(stale: Mapping[str, str], missing: "Sequence[Wanted]") -> None:
    from fleetctl.report import github

    matrix = [{"model": name, "inputs": inputs} for name, inputs in stale.items()]
    github.set_outputs(
        {
            "matrix": json.dumps(matrix),
            "any": bool(stale),
            "models": " ".join(stale),
            "images": bool(missing),
        }
    )


def why_built(model: "Model", locked: "LockedModel | None", inputs: str) -> str:
    """Why a pipeline has to build a model; empty where it need not."""
    from fleetctl.build.resolve import staleness, uncompiled

    return staleness(model, locked, inputs) or (uncompiled(locked) if locked else "")
