"""Completing what another machine left pending: the int8 model is in the store, and the compiler is here.

A pending variant is whole but for its compilation: contract, golden samples and accuracy are those of the
int8 model it will be compiled from. So neither data nor training is needed, and nothing else of the lock
changes.
"""

from msgspec.structs import replace

from fleetctl.artifact import MODEL_FILE, Artifact, BlobRef
from fleetctl.lockfile import Compilation, LockedModel, LockedVariant
from fleetctl.manifest.schema import Model
from fleetctl.models.edgetpu import workplace
from fleetctl.models.edgetpu.compiler_result import Compiled
from fleetctl.models.requirements import requirements
from fleetctl.store import BlobStore

COMPILER = "edgetpu_compiler"  # in a lock's toolchain


def complete(model: Model, locked: LockedModel, store: BlobStore) -> LockedModel | None:
    """Compile a model's pending variants; None where there is none, or this machine cannot.

    Raises:
        ToolchainMissing: the manifest has it compiled here, and the compiler is not here.
        BuildError: the compiler made nothing of it, or the int8 model's blob is absent.
    """
    pending = [name for name, variant in locked.variants.items() if variant.pending]
    if not pending or not workplace.can_compile(model.edgetpu):
        return None
    variants = {
        name: _compiled(model, variant, store) if variant.pending else variant
        for name, variant in locked.variants.items()
    }
    tools = {**locked.toolchain, COMPILER: workplace.version(model.edgetpu)}
    return replace(locked, toolchain=tools, variants=variants)


def compilation(compiled: Compiled) -> Compilation:
    """What the lock keeps of a compilation."""
    return Compilation(
        compiler=compiled.report.version or "unknown",
        min_runtime=compiled.min_runtime,
        on_chip=compiled.on_chip,
        off_chip=compiled.off_chip,
        predicted=compiled.predicted,
        disagreements=compiled.disagreements,
    )


def _compiled(model: Model, variant: LockedVariant, store: BlobStore) -> LockedVariant:
    artifact = variant.artifact
    compiled = workplace.compile_int8(model.edgetpu, store.get(artifact.files[MODEL_FILE].sha256))
    if compiled is None:  # the compiler went away in between
        return variant
    ref = BlobRef(store.put(compiled.tflite), len(compiled.tflite))
    return LockedVariant(
        artifact=Artifact(artifact.model, artifact.variant, {**artifact.files, MODEL_FILE: ref}),
        metrics=replace(variant.metrics, size=ref.size, tpu_ops=compiled.tpu_ops),
        requires=requirements(compiled.tflite),
        edgetpu=compilation(compiled),
    )
