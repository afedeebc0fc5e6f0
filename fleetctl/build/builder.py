"""From recipes to locked artifacts: builds what changed, holds it against the gates, writes the lock last.

A model is built whole, all its variants from one training. What is finished is kept under `.fleetctl/build/`:
a build that was killed goes on from the trained weights, and a build that a gate refused is judged again,
not made again. Deciding that there is nothing to do takes digests only, and imports nothing heavy.
"""

import contextlib
import errno
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from fleetctl import lockfile
from fleetctl.artifact import verify_artifact
from fleetctl.build import drawn_from
from fleetctl.build.built import finished, finished_file
from fleetctl.build.cards import bring_card_up_to_date, demand_card, doubts
from fleetctl.build.golden_size import shrunk
from fleetctl.build.inputs import cache_folder, model_inputs
from fleetctl.build.resolve import current_models, demand_acceptance, staleness
from fleetctl.compatibility.verdict import demand_compatible
from fleetctl.errors import BuildError, LockStale, UsageError, WriteError
from fleetctl.lockfile import FleetLock, LockedModel
from fleetctl.manifest.schema import Fleet, Model, Task
from fleetctl.models.progress import Progress, silent
from fleetctl.project import Project
from fleetctl.store import BlobStore, Lock, atomic_write, canonical_json, is_out_of_space, unwritable

if TYPE_CHECKING:
    from fleetctl.build.stages import Stages

_LOCK = "model_artifacts/fleet.lock"
_COMPLETED = "what was pending is compiled"
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class BuiltModel(Struct, frozen=True):
    """One model after a build. `reason` says why it was built; empty where the lock already had it.

    `note` says what is wrong with its card; empty where nothing is. `recipe` is the digest it was built
    under. `doubts` say what its measurements do not tell, one sentence each, where it was built.
    """

    name: str
    locked: LockedModel
    reason: str = ""
    note: str = ""
    recipe: str = ""
    doubts: tuple[str, ...] = ()


class BuildResult(Struct, frozen=True):
    models: tuple[BuiltModel, ...]
    lock_changed: bool

    @property
    def built(self) -> tuple[BuiltModel, ...]:
        """The models that were not up to date."""
        return tuple(model for model in self.models if model.reason)


def build(
    fleet: Fleet,
    project: Project,
    *,
    models: Collection[str] = (),
    force: bool = False,
    progress: Progress = silent,
    stages: "Stages | None" = None,
) -> BuildResult:
    """Bring models (by name; none: all) up to date with the manifest, and lock them.

    `force` builds them from scratch, whatever the lock says. Models and variants that left the manifest leave
    the lock. Either every model asked for passes its gates, or the lock stays as it was.

    Raises:
        GateRefused: something was built that the manifest's gates do not let through.
        ToolchainMissing: a tool is not installed.
        BuildError: a model could not be built, or something could not be written.
        LockHeld: another build of this fleet is running.
    """
    chosen = choose(fleet, models)
    with _refusals_of_the_system(), Lock(project.state / "build.lock", f"build of {fleet.name}"):
        before = lockfile.read(project.lockfile)
        if force:
            _forget(chosen, fleet, project)
        results = [
            _bring_up_to_date(model, before.models.get(model.name), fleet, project, force, progress, stages)
            for model in chosen
        ]
        demand_acceptance((fleet.models[result.name], result.locked) for result in results)
        _demand_loadable(fleet, results)
        results = [_with_card(result, fleet, project, stages) for result in results]
        after = _merged(fleet, before, results)
        if after != before:
            lockfile.write(project.lockfile, after)
    return BuildResult(tuple(results), after != before)


@contextlib.contextmanager
def _refusals_of_the_system() -> Iterator[None]:
    """A build that may not write, or has no room to, has failed as a build. What it finished is kept."""
    try:
        yield
    except WriteError as error:
        raise BuildError(error.message, hint=error.hint) from error
    except OSError as error:
        if not is_out_of_space(error) and error.errno not in _FORBIDDEN:
            raise
        # Somebody else's code: what it does not name lies among the temporary files.
        refused = unwritable(Path(error.filename or tempfile.gettempdir()), error)
        raise BuildError(refused.message, hint=refused.hint) from error


def check(fleet: Fleet, project: Project, *, models: Collection[str] = ()) -> BuildResult:
    """Look whether models are locked, accepted and whole in the store, building nothing.

    Raises:
        LockStale, GateRefused: as `resolve`; the card of a model is missing or about another build; one has
            fewer golden samples than its photos allow.
        BuildError: a blob is absent or was altered.
    """
    current = current_models(fleet, project, [model.name for model in choose(fleet, models)])
    for name, locked in current.items():
        _verify(locked, BlobStore(project.store))
        if why := shrunk(fleet.models[name], locked, BlobStore(project.store)):
            raise LockStale(f"{name}: {why}", hint=f"run `fleetctl build {name}` and commit {_LOCK}")
        demand_card(fleet.models[name], locked, project)
    return BuildResult(tuple(BuiltModel(name, locked) for name, locked in current.items()), False)


def choose(fleet: Fleet, names: Collection[str]) -> list[Model]:
    """The models of these names in the order of the manifest; none: all.

    Raises:
        UsageError: the manifest has no such model.
    """
    unknown = [name for name in names if name not in fleet.models]
    if unknown:
        raise UsageError(
            f"the manifest has no model {', '.join(map(repr, unknown))}",
            hint=f"it has {', '.join(fleet.models)}",
        )
    return [model for name, model in fleet.models.items() if not names or name in names]


def _forget(models: Iterable[Model], fleet: Fleet, project: Project) -> None:
    """Empty the folders of models' recipes, all before any is built: models may share one."""
    for recipe in {model_inputs(model, fleet, project)[0] for model in models}:
        shutil.rmtree(project.state / "build" / recipe, ignore_errors=True)


def _bring_up_to_date(
    model: Model,
    locked: LockedModel | None,
    fleet: Fleet,
    project: Project,
    force: bool,
    progress: Progress,
    stages: "Stages | None",
) -> BuiltModel:
    store = BlobStore(project.store)
    recipe, inputs = model_inputs(model, fleet, project)
    workdir = project.state / "build" / recipe
    reason = "asked for" if force else staleness(model, locked, inputs) or _fault(model, locked, store)
    if locked is not None and not reason:
        completed = _completed(model, locked, store)
        current = _trimmed(model, completed or locked)
        return BuiltModel(model.name, current, _COMPLETED if completed else "", recipe=recipe)
    drawn_from.forget_others(workdir, model.dataset)
    made = _made_before(workdir, model, inputs, store)
    if made is None:
        made = _made(model, inputs, fleet, project, workdir, _told_of(model, progress), stages)
        atomic_write(workdir / finished_file(model.name), canonical_json(lockfile.model_json(made)))
    return BuiltModel(model.name, _completed(model, made, store) or made, reason, recipe=recipe)


def _made(
    model: Model,
    inputs: str,
    fleet: Fleet,
    project: Project,
    workdir: Path,
    progress: Progress,
    stages: "Stages | None",
) -> LockedModel:
    """The model, built in the workshop for its task."""
    store, base, cache = BlobStore(project.store), fleet.directory, cache_folder(project)
    if model.task is Task.DETECTION:
        from fleetctl.build.detector_workshop import DetectorWorkshop

        return DetectorWorkshop(store, workdir, progress).make(model, inputs, base=base, cache=cache)
    from fleetctl.build.workshop import Workshop

    return Workshop(store, workdir, progress, stages).make(model, inputs, base=base, cache=cache)


def _demand_loadable(fleet: Fleet, results: Iterable[BuiltModel]) -> None:
    """Raise `Incompatible` where a board could not load what was built for it."""
    needs = {
        result.name: {name: v.requires for name, v in result.locked.variants.items() if v.requires}
        for result in results
    }
    demand_compatible(fleet, needs)


def _completed(model: Model, locked: LockedModel, store: BlobStore) -> LockedModel | None:
    """The model with what was pending compiled; None where nothing was, or this machine cannot."""
    if not any(variant.pending for variant in locked.variants.values()):
        return None
    from fleetctl.build.completion import complete

    return complete(model, locked, store)


def _with_card(result: BuiltModel, fleet: Fleet, project: Project, stages: "Stages | None") -> BuiltModel:
    model, locked, recipe = fleet.models[result.name], result.locked, result.recipe
    return replace(
        result,
        note=bring_card_up_to_date(model, locked, recipe, project, stages),
        doubts=doubts(model, locked, recipe, project) if result.reason else (),
    )


def _fault(model: Model, locked: LockedModel | None, store: BlobStore) -> str:
    """What is wrong with a locked model's blobs; empty where they are whole and prove what they could."""
    if locked is None:
        return ""
    try:
        _verify(locked, store)
        return shrunk(model, locked, store)
    except BuildError as error:
        return error.message


def _verify(locked: LockedModel, store: BlobStore) -> None:
    for variant in locked.variants.values():
        verify_artifact(variant.artifact, store)


def _made_before(workdir: Path, model: Model, inputs: str, store: BlobStore) -> LockedModel | None:
    """What an earlier build finished from the same inputs, if all of it is still here."""
    built = finished(workdir, model.name)
    if built is None or staleness(model, built, inputs) or _fault(model, built, store):
        return None
    return built


def _merged(fleet: Fleet, before: FleetLock, results: Iterable[BuiltModel]) -> FleetLock:
    models = {**before.models, **{result.name: result.locked for result in results}}
    locked = {name: _trimmed(fleet.models[name], models[name]) for name in fleet.models if name in models}
    return FleetLock(locked, {name: images for name, images in before.images.items() if name in locked})


def _trimmed(model: Model, locked: LockedModel) -> LockedModel:
    wanted = {variant.value for variant in model.variants}
    variants = {name: variant for name, variant in locked.variants.items() if name in wanted}
    return LockedModel(locked.input_digest, locked.toolchain, variants)


def _told_of(model: Model, progress: Progress) -> Progress:
    def told(stage: str, done: int, total: int) -> None:
        progress(f"{model.name}: {stage}", done, total)

    return told
