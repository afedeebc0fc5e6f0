"""What a model file needs of whoever loads it, read off its flatbuffer."""

from fleetctl.compatibility.requirements import Requirements
from fleetctl.models.edgetpu.compiled import inspect
from fleetctl.models.edgetpu.flatbuffer import operations

_CUSTOM = "CUSTOM:"


def requirements(tflite: bytes) -> Requirements:
    """The operations of a `.tflite` file in their newest versions, and the Edge TPU runtime it asks for.

    Raises:
        BuildError: the bytes are no TFLite model, or their Edge TPU part is damaged.
    """
    newest: dict[str, int] = {}
    custom = []
    for operation in operations(tflite):
        if operation.op.startswith(_CUSTOM):
            custom.append(operation.op.removeprefix(_CUSTOM))
        else:
            newest[operation.op] = max(newest.get(operation.op, 0), operation.version)
    return Requirements.of(newest, custom, inspect(tflite).min_runtime)
