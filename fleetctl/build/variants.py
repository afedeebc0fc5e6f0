"""What a build does with each variant of a model, be that a reader or a detector."""

from fleetctl.artifact import CONTRACT_FILE, GOLDEN_FILE, MODEL_FILE, Artifact, BlobRef, Contract
from fleetctl.build.stages import Converted
from fleetctl.lockfile import LockedVariant, Metrics
from fleetctl.manifest.schema import Model, VariantName
from fleetctl.models.progress import Progress
from fleetctl.store import BlobStore


def in_order(model: Model) -> list[VariantName]:
    """Float32, and then those that the model lists: drops are measured against it, listed or not."""
    return [VariantName.FLOAT32, *(v for v in model.variants if v is not VariantName.FLOAT32)]


def told_of(variant: VariantName, progress: Progress) -> Progress:
    """Tells of stages as those of one variant: `fine-tune int8-qat, resumed at step 2 of 5`."""

    def told(stage: str, done: int, total: int) -> None:
        name, comma, resumed = stage.partition(",")
        progress(f"{name} {variant}{comma}{resumed}", done, total)

    return told


def kept(
    store: BlobStore, converted: Converted, contract: Contract, golden: bytes, metrics: Metrics
) -> LockedVariant:
    """A variant to lock, its files put into the store; `golden` are those of its contract, as npy."""
    files = {
        MODEL_FILE: converted.tflite,
        CONTRACT_FILE: contract.to_json(),
        GOLDEN_FILE: golden,
    }
    refs = {name: BlobRef(store.put(data), len(data)) for name, data in files.items()}
    artifact = Artifact(contract.model, contract.variant, refs)
    return LockedVariant(artifact, metrics, requires=converted.requires, edgetpu=converted.edgetpu)
