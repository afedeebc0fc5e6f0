"""The variants of a model that are built as the manifest describes it, whether or not its gates pass them.

`resolve` gives what may be released. To see why a gate refuses, one has to look at what was refused.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from fleetctl import lockfile
from fleetctl.artifact import CONTRACT_FILE, MODEL_FILE, Artifact, Contract, verify_artifact
from fleetctl.build.inputs import model_inputs
from fleetctl.checked_json import Malformed, parse
from fleetctl.errors import LockStale
from fleetctl.lockfile import LockedModel
from fleetctl.manifest.schema import Fleet, Model, VariantName
from fleetctl.project import Project
from fleetctl.store import BlobStore

_SUFFIX = ".built.json"


def finished_file(model: str) -> str:
    """In a recipe's folder of `.fleetctl/build`: what the last build of a model finished, before gates judged
    it. Models that differ in gates or quantization share the folder, and the trained network in it.
    """
    return f"{model}{_SUFFIX}"


def built_variants(model: Model, fleet: Fleet, project: Project) -> Mapping[VariantName, Artifact]:
    """The artifacts of the variants that are built, in the manifest's order; opens no blob.

    Raises:
        LockStale: nothing is built of the model as it is described today.
    """
    recipe, inputs = model_inputs(model, fleet, project)
    candidates = (
        lockfile.read(project.lockfile).models.get(model.name),
        finished(project.state / "build" / recipe, model.name),
    )
    current = [locked for locked in candidates if locked is not None and locked.input_digest == inputs]
    if not current:
        raise LockStale(
            f"model {model.name} is not built as the manifest describes it",
            hint=f"run `fleetctl build {model.name}`",
        )
    most = max(current, key=lambda locked: len(locked.variants))
    whole = {name: locked.artifact for name, locked in most.variants.items() if not locked.pending}
    return {name: whole[name] for name in model.variants if name in whole}


def open_artifact(artifact: Artifact, project: Project) -> tuple[Contract, bytes]:
    """The contract and the TFLite bytes of an artifact, both checked.

    Raises:
        BuildError: a file is absent or was altered.
    """
    store = BlobStore(project.store)
    verify_artifact(artifact, store)
    contract = Contract.from_json(store.get(artifact.files[CONTRACT_FILE].sha256))
    return contract, store.get(artifact.files[MODEL_FILE].sha256)


def finished(workdir: Path, model: str) -> LockedModel | None:
    """What was built of a model in its recipe's folder, if that is still here and can be read: the folder may
    be lost at any time.
    """
    try:
        return lockfile.model_from(parse((workdir / finished_file(model)).read_bytes()), model)
    except (OSError, Malformed):
        return None


def finished_in(workdir: Path) -> Iterator[LockedModel]:
    """Every model that was finished in a recipe's folder, as `finished`."""
    for path in sorted(workdir.glob(f"*{_SUFFIX}")):
        if built := finished(workdir, path.name.removesuffix(_SUFFIX)):
            yield built
