"""A model as the Edge TPU compiler leaves it, made by hand: libedgetpu's package in a custom operation."""

import flatbuffers
from flatbuffers import flexbuffers
from tiny_tflite import Net, encode

from fleetctl.models.edgetpu.graph import Operation

PARAMETER_CACHING, EXECUTION_ONLY = 1, 2


def compiled_model(
    *,
    min_runtime: int,
    cached: bytes,
    streamed: bytes = b"",
    compiler: str = "",
    left: tuple[str, ...] = (),
    ends: tuple[tuple[int, ...], tuple[int, ...]] = ((1, 8), (1, 8)),
) -> bytes:
    """A `.tflite` file whose network is one custom operation, followed by what is left on the processor."""
    net = Net(ends[0])
    output = net.tensor(ends[1])
    custom = options(
        package(min_runtime, [(PARAMETER_CACHING, cached), (EXECUTION_ONLY, streamed)], compiler)
    )
    net.operations.append(Operation("CUSTOM:edgetpu-custom-op", 1, (net.input,), (output,), custom=custom))
    for name in left:
        output = net.op(name, (output,), ends[1])
    return encode(net.graph(output))


def options(packed: bytes) -> bytes:
    """The operation's options: a FlexBuffers map with the package under the key 4, called a string."""
    builder = flexbuffers.Builder()
    with builder.Map():
        builder.String("1", "")
        builder.String("4", _Bytes(packed))
    return bytes(builder.Finish())


class _Bytes(bytes):
    """Bytes where the builder asks for text to encode."""

    def encode(self, _encoding: str) -> bytes:
        return self


def package(min_runtime: int, executables: list[tuple[int, bytes]], compiler: str) -> bytes:
    """Table Package with a MultiExecutable inside."""
    builder = flatbuffers.Builder(1024)
    multi = builder.CreateByteVector(_multi_executable([_executable(*each) for each in executables]))
    name = builder.CreateString(f"cl/{compiler}")
    builder.StartObject(8)
    builder.PrependInt32Slot(0, min_runtime, 0)
    builder.PrependUOffsetTRelativeSlot(1, multi, 0)
    builder.PrependUOffsetTRelativeSlot(4, name, 0)
    builder.Finish(builder.EndObject(), b"DWN1")
    return bytes(builder.Output())


def _multi_executable(executables: list[bytes]) -> bytes:
    builder = flatbuffers.Builder(1024)
    strings = [builder.CreateString(each) for each in executables]
    builder.StartVector(4, len(strings), 4)
    for string in reversed(strings):
        builder.PrependUOffsetTRelative(string)
    vector = builder.EndVector()
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, vector, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def _executable(kind: int, parameters: bytes) -> bytes:
    builder = flatbuffers.Builder(1024)
    vector = builder.CreateByteVector(parameters)
    builder.StartObject(17)
    builder.PrependUOffsetTRelativeSlot(6, vector, 0)
    builder.PrependInt16Slot(13, kind, 0)
    builder.Finish(builder.EndObject(), b"DWN1")
    return bytes(builder.Output())
