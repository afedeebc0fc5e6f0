"""What a built model is a function of, as digests: "must it be built again?" is one comparison.

Only what changes the bytes counts. Gates and latency budgets do not: a changed gate is judged from the
numbers in the lock. Imports nothing heavy.
"""

from pathlib import Path

from msgspec import to_builtins

from fleetctl.errors import BuildError
from fleetctl.manifest.schema import Fleet, Model
from fleetctl.project import Project
from fleetctl.store import canonical_json, sha256

BUILDER = "5"
"""Raised whenever the builder makes other bytes of the same recipe."""

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


def input_digest(model: Model, recipe: str) -> str:
    """What a model's artifacts are a function of: the trained network, how it is quantized, the contract."""
    return sha256(
        canonical_json(
            {
                "recipe": recipe,
                "quantization": to_builtins(model.quantization),
                "name": model.name,
                "golden": model.smoke.samples,
            }
        )
    )


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

    recipe = recipe_digest(model, dataset_digest.digest(model.dataset, base=base, cache=cache))
    return recipe, input_digest(model, recipe)


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


def cache_folder(project: Project) -> Path:
    """Downloads, and what is remembered about files: may be deleted at any time."""
    return project.state / "cache"
