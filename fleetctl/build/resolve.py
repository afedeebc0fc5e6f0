"""From the manifest and the lock to artifacts: which built bytes each board should run today."""

from collections.abc import Collection, Iterable, Iterator, Mapping

from msgspec.structs import replace

from fleetctl import lockfile
from fleetctl.artifact import CONTRACT_FILE, MODEL_FILE, Artifact, Contract, verify_artifact
from fleetctl.build.acceptance import quantization_advice, refusals
from fleetctl.build.inputs import model_inputs
from fleetctl.errors import GateRefused, LockStale
from fleetctl.listed import listed
from fleetctl.lockfile import LockedModel
from fleetctl.manifest.schema import Board, EdgeTpuBuild, Fleet, Gates, Model, VariantName
from fleetctl.project import Project
from fleetctl.store import BlobStore

_COMPILE = "run `fleetctl build` on a machine with edgetpu_compiler and commit model_artifacts/fleet.lock"


def resolve(fleet: Fleet, project: Project, names: Collection[str] | None = None) -> dict[str, Artifact]:
    """The artifact of each board, or of those named, by board name. Opens no blob.

    Raises:
        LockStale: a model in use is not locked as the manifest and its dataset are today, or the variant of
            one of these boards is still to be compiled.
        GateRefused: a locked variant does not pass the gates the manifest sets today.
    """
    used = dict.fromkeys(board.model for board in fleet.boards.values())
    models = current_models(fleet, project, used)
    boards = [fleet.boards[name] for name in (fleet.boards if names is None else names)]
    _demand_compiled(boards, models)
    return {board.name: models[board.model].variants[board.variant].artifact for board in boards}


def resolve_board(board: Board, fleet: Fleet, project: Project) -> Artifact:
    """The artifact of one board, looking at its model alone.

    Raises:
        LockStale, GateRefused: as `resolve`.
    """
    models = current_models(fleet, project, [board.model])
    _demand_compiled([board], models)
    return models[board.model].variants[board.variant].artifact


def load_artifact(project: Project, fleet: Fleet, model: str, variant: str) -> tuple[Contract, bytes]:
    """The contract and the TFLite bytes of a built variant, both checked.

    Raises:
        LockStale, GateRefused: as `resolve`.
        BuildError: a file is absent or was altered.
    """
    locked = current_models(fleet, project, [model])[model]
    if variant not in locked.variants:
        raise LockStale(f"model {model} has no variant {variant}", hint="add it to the model's variants")
    if locked.variants[variant].pending:
        raise LockStale(f"variant {variant} of {model} is pending: CI builds it", hint=_COMPILE)
    artifact = locked.variants[variant].artifact
    store = BlobStore(project.store)
    verify_artifact(artifact, store)
    contract = Contract.from_json(store.get(artifact.files[CONTRACT_FILE].sha256))
    return contract, store.get(artifact.files[MODEL_FILE].sha256)


def current_models(fleet: Fleet, project: Project, names: Iterable[str]) -> Mapping[str, LockedModel]:
    """These models as locked, if the lock describes them as they are today and they pass their gates.

    Raises:
        LockStale, GateRefused: as `resolve`, naming every model concerned.
    """
    lock = lockfile.read(project.lockfile)
    models = [fleet.models[name] for name in names]
    stale = {
        model.name: why
        for model in models
        if (why := staleness(model, lock.models.get(model.name), model_inputs(model, fleet, project)[1]))
    }
    if stale:
        raise LockStale(
            "fleet.lock is out of date: " + "; ".join(f"{name}: {why}" for name, why in stale.items()),
            hint=f"run `fleetctl build {' '.join(stale)}` and commit model_artifacts/fleet.lock",
        )
    current = {model.name: lock.models[model.name] for model in models}
    demand_acceptance([(model, current[model.name]) for model in models])
    return current


def staleness(model: Model, locked: LockedModel | None, inputs: str) -> str:
    """Why the lock does not describe a model; empty where it does."""
    if locked is None:
        return "not built yet"
    if locked.input_digest != inputs:
        return "its recipe or its data changed since it was built"
    missing = [variant.value for variant in model.variants if variant.value not in locked.variants]
    if missing:
        return f"variant {', '.join(missing)} not built yet"
    return "" if model.edgetpu.compile is EdgeTpuBuild.CI else uncompiled(locked)


def uncompiled(locked: LockedModel) -> str:
    """What is still to be compiled of a model, as a reason to build it; empty where nothing is."""
    pending = [name for name, variant in locked.variants.items() if variant.pending]
    return f"variant {', '.join(pending)} not compiled yet" if pending else ""


def _demand_compiled(boards: Iterable[Board], models: Mapping[str, LockedModel]) -> None:
    """Refuse boards whose variant another machine is still to compile."""
    waiting: dict[str, list[str]] = {}
    for board in boards:
        if models[board.model].variants[board.variant].pending:
            waiting.setdefault(f"variant {board.variant} of {board.model}", []).append(board.name)
    if waiting:
        needy = sorted(name for names in waiting.values() for name in names)
        raise LockStale(
            "; ".join(f"{variant} is pending: CI builds it" for variant in waiting),
            hint=f"{_COMPILE}; till then leave out the boards that need it with --on: {listed(needy, 3)}",
        )


def _gates(model: Model, locked: LockedModel, variant: VariantName) -> Gates:
    """The gates of a variant. What is not compiled yet has no operations to count, and reaches no board."""
    if locked.variants[variant.value].pending:
        return replace(model.gates, min_tpu_ops=None)
    return model.gates


def demand_acceptance(models: Iterable[tuple[Model, LockedModel]]) -> None:
    """Hold every variant the manifest lists against the gates it sets.

    Raises:
        GateRefused: naming each number and its limit, of every variant refused.
    """
    judged = list(models)
    refused = [
        f"{model.name} {variant.value}: {reason}"
        for model, locked in judged
        for variant in model.variants
        for reason in refusals(
            variant, locked.variants[variant.value].metrics, _gates(model, locked, variant)
        )
    ]
    if refused:
        raise GateRefused(
            "the gates refuse what was built: " + "; ".join(refused),
            hint="; ".join(_advice(judged))
            or "improve the recipe, or change the gate in the manifest if it asks too much",
        )


def _advice(judged: Iterable[tuple[Model, LockedModel]]) -> Iterator[str]:
    """What quantization-aware training gives where int8 loses too much."""
    for model, locked in judged:
        built = {name: variant.metrics for name, variant in locked.variants.items()}
        advice = quantization_advice(built, model.gates)
        if advice:
            yield f"{model.name}: {advice}"
