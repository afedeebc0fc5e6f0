"""The card of each model in git, `model_artifacts/<model>/card.md`, kept in step with the lock."""

from pathlib import Path
from typing import TYPE_CHECKING

from fleetctl.artifact import CONTRACT_FILE, MODEL_FILE, Contract
from fleetctl.checked_json import Malformed
from fleetctl.errors import LockStale
from fleetctl.lockfile import LockedModel
from fleetctl.manifest.schema import Model
from fleetctl.models.card.files import CARD
from fleetctl.models.card.mark import is_current
from fleetctl.project import Project
from fleetctl.store import BlobStore, atomic_write

if TYPE_CHECKING:
    from fleetctl.build.stages import Stages
    from fleetctl.models.card.record import Measurements
    from fleetctl.models.card.subject import Subject


def measurements_file(model: str) -> str:
    """What was measured of a model, in its recipe's folder, which other models may share."""
    return f"{model}.measurements.json"


def bring_card_up_to_date(
    model: Model, locked: LockedModel, recipe: str, project: Project, stages: "Stages | None" = None
) -> str:
    """Write a model's card unless it is about the model as it is locked.

    Args:
        recipe: the digest that it was built under; photos may have changed since.

    Returns:
        Why it could not be written; empty where it is current.

    Raises:
        BuildError: a blob of the model is absent or was altered.
        ToolchainMissing: what draws the plots is not installed.
    """
    folder = card_folder(model, project)
    if is_current(folder, model, locked):
        return ""
    measured = _kept(_measurements(model, recipe, project), locked)
    if measured is None:
        return (
            f"{model.name} has no current card, and what was measured is no longer in .fleetctl: "
            f"take the card back from git, or run `fleetctl build --force {model.name}`"
        )
    if stages is None:
        from fleetctl.build.stages import ModelStages

        stages = ModelStages()
    files = stages.card(_subject(model, locked, measured, BlobStore(project.store)))
    for name in sorted(files, key=lambda name: name == CARD):  # the text says what is current: it comes last
        atomic_write(folder / name, files[name])
    return ""


def doubts(model: Model, locked: LockedModel, recipe: str, project: Project) -> tuple[str, ...]:
    """What whoever built a model should know of its measurements; its card has it among the weaknesses."""
    from fleetctl.models.card import weaknesses

    measured = _kept(_measurements(model, recipe, project), locked)
    return tuple(weaknesses.doubts(model, measured, locked.variants)) if measured else ()


def demand_card(model: Model, locked: LockedModel, project: Project) -> None:
    """Raise `LockStale` unless the card in git is about the model as it is locked."""
    folder = card_folder(model, project)
    if not is_current(folder, model, locked):
        raise LockStale(
            f"{folder.parent.name}/{model.name}/{CARD} is missing or about another build of {model.name}",
            hint=f"run `fleetctl build {model.name}` and commit model_artifacts/{model.name}",
        )


def card_folder(model: Model, project: Project) -> Path:
    """Where a model's card and its plots lie."""
    return project.artifacts / model.name


def _measurements(model: Model, recipe: str, project: Project) -> Path:
    return project.state / "build" / recipe / measurements_file(model.name)


def _kept(path: Path, locked: LockedModel) -> "Measurements | None":
    """What a build measured of these very inputs, if that is still here and whole."""
    from fleetctl.models.card import record

    try:
        measured = record.loads(path.read_bytes())
    except (OSError, Malformed):
        return None
    whole = measured.inputs == locked.input_digest and set(locked.variants) <= set(measured.variants)
    return measured if whole else None


def _subject(model: Model, locked: LockedModel, measured: "Measurements", store: BlobStore) -> "Subject":
    from fleetctl.models.card.subject import Subject

    files = {name: variant.artifact.files for name, variant in locked.variants.items()}
    contracts = {
        name: Contract.from_json(store.get(refs[CONTRACT_FILE].sha256)).to_mapping()
        for name, refs in files.items()
    }
    models = {name: store.get(refs[MODEL_FILE].sha256) for name, refs in files.items()}
    return Subject(model, locked, measured, contracts, models)
