"""Small TFLite models made by hand: a graph in few words, and its flatbuffer as a converter writes it."""

from collections.abc import Iterator, Mapping, Sequence

import flatbuffers
import numpy as np
import tflite

from fleetctl.models.edgetpu.graph import Graph, Operation, Tensor

_TYPES = {"INT32": "<i4", "INT64": "<i8", "INT8": "i1", "UINT8": "u1", "FLOAT32": "<f4", "INT16": "<i2"}


class Net:
    """A graph that grows from its input on. Every method that adds something gives its tensor's number."""

    def __init__(self, shape: Sequence[int] = (1, 8, 8, 3), dtype: str = "INT8") -> None:
        self.tensors: list[Tensor] = []
        self.operations: list[Operation] = []
        self.input = self.tensor(shape, dtype)
        self.inputs = [self.input]

    def tensor(self, shape: Sequence[int], dtype: str = "INT8", **more: object) -> int:
        """A tensor that is computed, fed, or kept as state."""
        scales = 1 if dtype in ("INT8", "UINT8", "INT16") else 0
        settings = {"scales": scales, **more}
        self.tensors.append(Tensor(f"t{len(self.tensors)}", tuple(shape), dtype, **settings))
        return len(self.tensors) - 1

    def constant(self, values: object, dtype: str = "INT32", **more: object) -> int:
        """A tensor whose values are in the file."""
        array = np.asarray(values, _TYPES[dtype])
        return self.tensor(array.shape, dtype, constant=True, data=array.tobytes(), **more)

    def op(
        self,
        name: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        dtype: str = "INT8",
        version: int = 1,
        options: Mapping[str, int] | None = None,
    ) -> int:
        """An operation with one output."""
        output = self.tensor(shape, dtype)
        self.operations.append(Operation(name, version, tuple(inputs), (output,), options or {}))
        return output

    def conv(self, source: int, channels: int = 4, kernel: Sequence[int] = (1, 1), **more: object) -> int:
        """A convolution that keeps the size, with weights and bias."""
        *outer, depth = self.tensors[source].shape
        weights = self.constant(np.ones((channels, *kernel, depth)), "INT8")
        bias = self.constant(np.zeros(channels))
        return self.op("CONV_2D", (source, weights, bias), (*outer, channels), **more)

    def graph(self, *outputs: int) -> Graph:
        """The graph; without outputs given, the last tensor is the output."""
        ends = outputs or (len(self.tensors) - 1,)
        return Graph(tuple(self.tensors), tuple(self.operations), tuple(self.inputs), ends)


def encode(*graphs: Graph, behind: tuple[int, int] | None = None) -> bytes:
    """The `.tflite` file of one graph, or of several subgraphs. An operation that comes twice is shared.

    `behind`: where every constant is said to lie in the file, and its size, as in models over 2 GB.
    """
    builder = flatbuffers.Builder(4096)
    codes = sorted({(op.op, op.version) for graph in graphs for op in graph.operations})
    buffers = [b"", *(bytes(t.data) for graph in graphs for t in graph.tensors if t.constant)]
    numbers = iter(range(1, len(buffers)))
    subgraphs = [_subgraph(builder, graph, codes, numbers) for graph in graphs]
    packed = [_buffer(builder, data, behind if data else None) for data in buffers]
    opcodes = [_opcode(builder, name, version) for name, version in codes]
    all_codes, all_graphs = _offsets(builder, opcodes), _offsets(builder, subgraphs)
    all_buffers = _offsets(builder, packed)
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, 3)
    tflite.ModelAddOperatorCodes(builder, all_codes)
    tflite.ModelAddSubgraphs(builder, all_graphs)
    tflite.ModelAddBuffers(builder, all_buffers)
    builder.Finish(tflite.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


def _subgraph(
    builder: flatbuffers.Builder, graph: Graph, codes: list[tuple[str, int]], numbers: Iterator[int]
) -> int:
    tensors = _offsets(
        builder,
        [_tensor(builder, t, next(numbers) if t.constant else 0) for t in graph.tensors],
    )
    written = {
        id(op): _operator(builder, op, codes) for op in {id(op): op for op in graph.operations}.values()
    }
    operators = _offsets(builder, [written[id(op)] for op in graph.operations])
    inputs, outputs = _ints(builder, graph.inputs), _ints(builder, graph.outputs)
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, tensors)
    tflite.SubGraphAddInputs(builder, inputs)
    tflite.SubGraphAddOutputs(builder, outputs)
    tflite.SubGraphAddOperators(builder, operators)
    return int(tflite.SubGraphEnd(builder))


def _tensor(builder: flatbuffers.Builder, tensor: Tensor, buffer: int) -> int:
    label, sides, quantization = builder.CreateString(tensor.name), _ints(builder, tensor.shape), 0
    if tensor.scales:
        scales = builder.CreateNumpyVector(np.full(tensor.scales, 0.5, np.float32))
        zeros = builder.CreateNumpyVector(np.full(tensor.scales, tensor.zero_point, np.int64))
        tflite.QuantizationParametersStart(builder)
        tflite.QuantizationParametersAddScale(builder, scales)
        tflite.QuantizationParametersAddZeroPoint(builder, zeros)
        quantization = tflite.QuantizationParametersEnd(builder)
    tflite.TensorStart(builder)
    tflite.TensorAddShape(builder, sides)
    tflite.TensorAddType(builder, getattr(tflite.TensorType, tensor.dtype))
    tflite.TensorAddBuffer(builder, buffer)
    tflite.TensorAddName(builder, label)
    tflite.TensorAddIsVariable(builder, tensor.variable)
    if quantization:
        tflite.TensorAddQuantization(builder, quantization)
    return int(tflite.TensorEnd(builder))


# Which of the schema's tables holds the settings of an operation.
_OPTIONS = {
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "PACK": "PackOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
}


def _operator(builder: flatbuffers.Builder, operation: Operation, codes: list[tuple[str, int]]) -> int:
    inputs, outputs = _ints(builder, operation.inputs), _ints(builder, operation.outputs)
    options, table = 0, _OPTIONS.get(operation.op, "")
    if operation.options:
        getattr(tflite, f"{table}Start")(builder)
        for name, value in operation.options.items():
            getattr(tflite, f"{table}Add{name}")(builder, value)
        options = getattr(tflite, f"{table}End")(builder)
    custom = builder.CreateByteVector(bytes(operation.custom)) if operation.custom else 0
    tflite.OperatorStart(builder)
    tflite.OperatorAddOpcodeIndex(builder, codes.index((operation.op, operation.version)))
    tflite.OperatorAddInputs(builder, inputs)
    tflite.OperatorAddOutputs(builder, outputs)
    if options:
        tflite.OperatorAddBuiltinOptionsType(builder, getattr(tflite.BuiltinOptions, table))
        tflite.OperatorAddBuiltinOptions(builder, options)
    if custom:
        tflite.OperatorAddCustomOptions(builder, custom)
    return int(tflite.OperatorEnd(builder))


def _opcode(builder: flatbuffers.Builder, name: str, version: int) -> int:
    kind, _, rest = name.partition(":")
    number = int(rest) if kind == "UNKNOWN" else getattr(tflite.BuiltinOperator, kind)
    custom = builder.CreateString(rest) if kind == "CUSTOM" else 0
    tflite.OperatorCodeStart(builder)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, min(number, 127))
    tflite.OperatorCodeAddVersion(builder, version)
    tflite.OperatorCodeAddBuiltinCode(builder, number)
    if custom:
        tflite.OperatorCodeAddCustomCode(builder, custom)
    return int(tflite.OperatorCodeEnd(builder))


def _buffer(builder: flatbuffers.Builder, data: bytes, behind: tuple[int, int] | None) -> int:
    content = builder.CreateByteVector(data) if data and not behind else 0
    tflite.BufferStart(builder)
    if behind:
        tflite.BufferAddOffset(builder, behind[0])
        tflite.BufferAddSize(builder, behind[1])
    if content:
        tflite.BufferAddData(builder, content)
    return int(tflite.BufferEnd(builder))


def _ints(builder: flatbuffers.Builder, values: Sequence[int]) -> int:
    return int(builder.CreateNumpyVector(np.array(values, np.int32)))


def _offsets(builder: flatbuffers.Builder, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
