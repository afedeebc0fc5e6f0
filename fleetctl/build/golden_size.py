"""Does a locked model prove as much as it could? What an older release chose may be fewer golden samples."""

from fleetctl.artifact import CONTRACT_FILE, Contract
from fleetctl.lockfile import LockedModel
from fleetctl.manifest.schema import Model, Task
from fleetctl.store import BlobStore


def shrunk(model: Model, locked: LockedModel, store: BlobStore) -> str:
    """Which variant has fewer golden samples than the manifest asks for and its photos allow; empty: none.

    Of a detector nobody can say what its photos allow: golden is what its variants agree on.

    Raises:
        BuildError: a contract is absent or was altered.
    """
    if model.task is not Task.CLASSIFICATION:
        return ""
    for name in model.variants:
        if (variant := locked.variants.get(name)) is None:
            continue
        has = len(Contract.from_json(store.get(variant.artifact.files[CONTRACT_FILE].sha256)).golden)
        could = min(model.smoke.samples, variant.metrics.samples)
        if has < could:
            return f"variant {name} has {has} golden samples of {could}"
    return ""
