"""What a compiled model says of itself: how much of it runs on the Edge TPU, and what it needs there."""

from collections import Counter
from collections.abc import Mapping

from msgspec import Struct

from fleetctl.errors import BuildError
from fleetctl.models.edgetpu.flatbuffer import read
from fleetctl.models.edgetpu.package import ExecutableType, Package, read_package

CUSTOM_OP = "CUSTOM:edgetpu-custom-op"
"""What the compiler leaves in a model in place of the operations it mapped."""

_RENEW = "compile the model again"


class Inspection(Struct, frozen=True):
    """A model file. Of one that is not compiled, `custom_ops` is 0 and everything about packages is None.

    `on_chip` and `off_chip` are bytes of parameters: kept in the Edge TPU's memory, and sent with every
    inference. `min_runtime` is the oldest Edge TPU runtime that loads it. `cpu_ops` counts, by name, the
    operations left on the processor.
    """

    custom_ops: int
    min_runtime: int | None
    on_chip: int | None
    off_chip: int | None
    compiler: str | None
    cpu_ops: Mapping[str, int]


def inspect(model: bytes) -> Inspection:
    """Look into a `.tflite` file, compiled for the Edge TPU or not.

    Raises:
        BuildError: the bytes are no TFLite model, or their Edge TPU part is damaged.
    """
    operations = [operation for graph in read(model).graphs for operation in graph.operations]
    compiled = [operation for operation in operations if operation.op == CUSTOM_OP]
    if sum(len(operation.custom) for operation in compiled) > len(model):
        raise BuildError("not a TFLite model: its Edge TPU parts are larger than the file", hint=_RENEW)
    packages = [read_package(bytes(operation.custom)) for operation in compiled]
    left = Counter(operation.op for operation in operations if operation.op != CUSTOM_OP)
    if not packages:
        return Inspection(0, None, None, None, None, left)
    return Inspection(
        custom_ops=len(packages),
        min_runtime=max(package.min_runtime for package in packages),
        on_chip=sum(_parameters(package, cached=True) for package in packages),
        off_chip=sum(_parameters(package, cached=False) for package in packages),
        compiler=next((package.compiler for package in packages if package.compiler), None),
        cpu_ops=left,
    )


def _parameters(package: Package, *, cached: bool) -> int:
    return sum(
        executable.parameters
        for executable in package.executables
        if (executable.type is ExecutableType.PARAMETER_CACHING) is cached
    )
