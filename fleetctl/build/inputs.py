"""What a built model is a function of, as digests: "must it be built again?" is one comparison.

Only what somebody declared counts, and changes the bytes. Gates and latency budgets do not: a changed gate is
judged from the numbers in the lock. Nor does fleetctl itself: a lock stays current when a team takes a newer
one, whose builder makes other bytes and whose recipes have settings more. Imports nothing heavy.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, to_builtins

from fleetctl.errors import BuildError
from fleetctl.manifest.schema import Fleet, Model
from fleetctl.project import Project
from fleetctl.store import canonical_json, sha256

BUILDER = "5"
"""Raised whenever the builder makes other bytes of the same recipe, from drawings to models."""

BUILDER_TOOL = "fleetctl builder"  # in a lock's toolchain

TENSORFLOW = "2.15"
"""The series models are built with: the last with Keras 2, whose converter the Edge TPU compiler accepts."""


def recipe_digest(model: Model, dataset_digest: str) -> str:
    """What the trained network is a function of. Training is resumed and reused under this name."""
    return sha256(
        canonical_json(
            {
                "builder": BUILDER,
                "tensorflow": TENSORFLOW,
                "task": model.task.value,
                "dataset": dataset_digest,
                "architecture": to_builtins(model.architecture),
                "training": to_builtins(model.training),
            }
        )
    )


def input_digest(model: Model, dataset_digest: str) -> str:
    """What a lock is held against: everything declared that a model's artifacts are a function of."""
    return sha256(
        canonical_json(
            {
                "task": model.task.value,
                "dataset": dataset_digest,
                "architecture": declared(model.architecture),
                "training": declared(model.training),
                "quantization": declared(model.quantization),
                "name": model.name,
                "golden": model.smoke.samples,
            }
        )
    )


def declared(settings: Struct) -> dict[str, Any]:
    """The settings that are other than usual, as plain values: none that a later fleetctl may add is one."""
    return _unusual(to_builtins(settings), to_builtins(type(settings)()))


def _unusual(settings: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _unusual(value, usual[name]) if isinstance(value, dict) else value
        for name, value in settings.items()
        if value != usual[name]
    }


def model_inputs(model: Model, fleet: Fleet, project: Project) -> tuple[str, str]:
    """Recipe digest and input digest of a model as the manifest and its dataset are today.

    Raises:
        BuildError: the dataset cannot be read, so nobody can say.
    """
    return inputs_of(model, base=fleet.directory, cache=cache_folder(project))


def inputs_of(model: Model, *, base: Path, cache: Path) -> tuple[str, str]:
    """The same, of a model whose dataset starts from `base`.

    Raises:
        BuildError: the dataset cannot be read, so nobody can say.
    """
    from fleetctl.models import dataset_digest

    data = dataset_digest.digest(model.dataset, base=base, cache=cache)
    return recipe_digest(model, data), input_digest(model, data)


def demand_unchanged(model: Model, inputs: str, *, base: Path, cache: Path) -> None:
    """Refuse samples that are read already and are no longer what `inputs`, taken before, names.

    Seconds lie between: TensorFlow starts, and thousands of photos are opened. What learnt from other photos
    than the lock names could never be built again.

    Raises:
        BuildError: a photo or a setting changed in between, or can no longer be read.
    """
    if inputs_of(model, base=base, cache=cache)[1] != inputs:
        raise BuildError(
            f"model {model.name}: the photos changed while they were read",
            hint="run it again when nobody writes into the folders of its dataset",
        )


def made_by_another_builder(toolchain: Mapping[str, str]) -> str:
    """Which builder a lock's toolchain names, if not this one: what it made is as good as it was."""
    said = toolchain.get(BUILDER_TOOL, BUILDER)
    return "" if said == BUILDER else said


def cache_folder(project: Project) -> Path:
    """Downloads, and what is remembered about files: may be deleted at any time."""
    return project.state / "cache"
