"""The one reader of `.tflite` files: a flatbuffer in, graphs out, without TensorFlow.

Files are not trusted. Everything the `tflite` package raises on a damaged one ends here as a `BuildError`,
and how much is read has a bound: a few bytes can claim vectors of billions of elements, and many operations
can share one long vector.
"""

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from fleetctl.errors import BuildError, ToolchainMissing, UsageError
from fleetctl.models import build_tools
from fleetctl.models.edgetpu.graph import ABSENT, Graph, Operation, Tensor

IDENTIFIER = b"TFL3"
MAX_SIZE = 512 * 1024 * 1024  # bytes; the largest model Coral publishes has 50 MB
_MAX_WORK = 400_000  # in elements of vectors: a few seconds; a model of 500 operations takes 25,000
_TENSOR, _OPERATION = 10, 20  # what reading one of these takes, in elements
_MAX_RANK = 16  # TFLite's own kernels end at 8
_MAX_NAME = 256  # bytes read of a tensor's name
_BROKEN = (struct.error, ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError)

# The settings that rules ask for, by the schema's table and field names.
_OPTIONS = {
    "Conv2DOptions": ("DilationWFactor", "DilationHFactor"),
    "DepthwiseConv2DOptions": ("DilationWFactor", "DilationHFactor"),
    "Pool2DOptions": ("FilterWidth", "FilterHeight", "FusedActivationFunction"),
    "ConcatenationOptions": ("Axis", "FusedActivationFunction"),
    "FullyConnectedOptions": ("WeightsFormat",),
    "PackOptions": ("Axis",),
    "ResizeBilinearOptions": ("AlignCorners", "HalfPixelCenters"),
    "ResizeNearestNeighborOptions": ("AlignCorners", "HalfPixelCenters"),
    "StridedSliceOptions": ("EllipsisMask", "NewAxisMask"),
}


class ModelFile(Struct, frozen=True):
    """What a `.tflite` file holds: its subgraphs, the first of which is the model."""

    graphs: tuple[Graph, ...]

    @property
    def main(self) -> Graph:
        return self.graphs[0]


def read_file(path: Path) -> bytes:
    """The bytes of a model file that the command line names.

    Raises:
        UsageError: there is no such file, or none that may be read.
        BuildError: it is of no size that a model has.
    """
    hint = "give the path of a .tflite file"
    try:
        if not path.is_file():
            what = "it is no file" if path.exists() else "there is no such file"
            raise UsageError(f"{path}: {what}", hint=hint)
        if path.stat().st_size > MAX_SIZE:
            raise BuildError(f"{path}: it is over {MAX_SIZE // 2**20} MiB, too large for a model")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: it cannot be read: {error.strerror}", hint=hint) from error


@contextlib.contextmanager
def naming(file: object) -> Iterator[None]:
    """Have what is wrong with a model say of which file it is; whoever gets bytes cannot know."""
    try:
        yield
    except ToolchainMissing:
        raise
    except BuildError as error:
        raise BuildError(f"{file}: {error.message}", hint=error.hint) from error


def read(model: bytes) -> ModelFile:
    """The graphs of a `.tflite` file.

    Raises:
        BuildError: the bytes are no TFLite model, or one that could never run.
        ToolchainMissing: the `tflite` package is not installed.
    """
    build_tools.demand("tflite")
    if model[4:8] != IDENTIFIER:
        raise _not_a_model("it does not say TFL3 where every .tflite file does")
    try:
        return _Reader(model).model()
    except _BROKEN as error:
        raise _not_a_model("its structure is damaged or cut short") from error


def operations(model: bytes) -> tuple[Operation, ...]:
    """The operations of a model, in the order of the file, subgraph after subgraph.

    Raises:
        BuildError: as `read`.
    """
    return tuple(operation for graph in read(model).graphs for operation in graph.operations)


def _not_a_model(why: str) -> BuildError:
    return BuildError(f"not a TFLite model: {why}", hint="give a .tflite file as the converter wrote it")


class _Reader:
    """Reads one file. `budget` is how much more work it may make."""

    def __init__(self, model: bytes) -> None:
        import tflite

        self.tflite = tflite
        self.root = tflite.Model.GetRootAs(model, 0)
        self.bytes = memoryview(model)
        self.budget = _MAX_WORK
        self.ops = _names(tflite.BuiltinOperator)
        self.dtypes = _names(tflite.TensorType)
        self.option_tables = _names(tflite.BuiltinOptions)

    def model(self) -> ModelFile:
        codes = [self.code(self.root.OperatorCodes(i)) for i in self.range(self.root.OperatorCodesLength())]
        count = self.root.SubgraphsLength()
        graphs = tuple(self.graph(self.root.Subgraphs(i), codes) for i in self.range(count))
        if not graphs:
            raise _not_a_model("it holds no graph")
        return ModelFile(graphs)

    def code(self, code: Any) -> tuple[str, int]:
        """Name and version. Old files have a one-byte code only, new ones both: the larger one counts."""
        number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
        name = self.ops.get(number, f"UNKNOWN:{number}")
        if name == "CUSTOM":
            name = f"CUSTOM:{self.text(code.CustomCode())}"
        return name, code.Version()

    def graph(self, graph: Any, codes: list[tuple[str, int]]) -> Graph:
        count = graph.TensorsLength()
        tensors = tuple(self.tensor(graph.Tensors(i)) for i in self.range(count, _TENSOR))
        count = graph.OperatorsLength()
        found = tuple(self.operation(graph.Operators(i), codes) for i in self.range(count, _OPERATION))
        ends = self.integers(graph.InputsAsNumpy()), self.integers(graph.OutputsAsNumpy())
        read = Graph(tensors, found, *ends)
        _demand_runnable(read)
        return read

    def tensor(self, tensor: Any) -> Tensor:
        data = self.data(tensor.Buffer())
        scales, zero_point = self.quantization(tensor.Quantization())
        shape = self.integers(tensor.ShapeAsNumpy())
        if len(shape) > _MAX_RANK:
            raise _not_a_model(f"a tensor of it has {len(shape)} dimensions")
        return Tensor(
            name=self.text(tensor.Name()),
            shape=shape,
            dtype=self.dtypes.get(tensor.Type(), f"UNKNOWN:{tensor.Type()}"),
            constant=len(data) > 0,
            variable=bool(tensor.IsVariable()),
            scales=scales,
            zero_point=zero_point,
            data=data,
        )

    def quantization(self, parameters: Any) -> tuple[int, int]:
        """How many scales there are, and the first zero point."""
        if parameters is None:
            return 0, 0
        zeros = parameters.ZeroPointAsNumpy()
        return int(parameters.ScaleLength()), int(zeros[0]) if np.size(zeros) and np.ndim(zeros) else 0

    def data(self, index: int) -> memoryview:
        """A buffer's bytes, not copied. Models over 2 GB keep them behind the flatbuffer, by offset."""
        if not 0 <= index < self.root.BuffersLength():
            raise IndexError(index)
        buffer = self.root.Buffers(index)
        start, end = buffer.Offset(), buffer.Offset() + buffer.Size()
        if start <= 1:
            return _view(buffer.DataAsNumpy())
        if end > len(self.bytes):  # a slice would be a part of a constant, or pass for none at all
            raise IndexError(end)
        return self.bytes[start:end]

    def operation(self, operation: Any, codes: list[tuple[str, int]]) -> Operation:
        op, version = codes[operation.OpcodeIndex()]
        inputs = self.integers(operation.InputsAsNumpy())
        outputs = self.integers(operation.OutputsAsNumpy())
        return Operation(
            op, version, inputs, outputs, self.options(operation), _view(operation.CustomOptionsAsNumpy())
        )

    def options(self, operation: Any) -> dict[str, int]:
        name = self.option_tables.get(operation.BuiltinOptionsType(), "")
        table, wanted = operation.BuiltinOptions(), _OPTIONS.get(name)
        if table is None or wanted is None:
            return {}
        options = getattr(self.tflite, name)()
        options.Init(table.Bytes, table.Pos)
        return {field: int(getattr(options, field)()) for field in wanted}

    def integers(self, vector: Any) -> tuple[int, ...]:
        """A vector of numbers; the package gives 0 where there is none."""
        if np.ndim(vector) == 0:
            return ()
        self.spend(len(vector))
        return tuple(int(value) for value in vector)

    def range(self, length: int, each: int = 1) -> Iterator[int]:
        self.spend(length * each)
        return iter(range(length))

    def spend(self, work: int) -> None:
        self.budget -= work
        if self.budget < 0:
            raise _not_a_model("it claims to have more in it than any model for such a device")

    def text(self, raw: bytes | None) -> str:
        """A name as it can be shown: what would move a terminal's cursor, or end a line, is replaced."""
        name = (raw or b"")[:_MAX_NAME].decode(errors="replace")
        return "".join(sign if sign.isprintable() else "\ufffd" for sign in name)


def _names(enumeration: type) -> dict[int, str]:
    return {number: name for name, number in vars(enumeration).items() if isinstance(number, int)}


def _view(vector: Any) -> memoryview:
    return memoryview(vector) if np.ndim(vector) else memoryview(b"")


def _demand_runnable(graph: Graph) -> None:
    """Every tensor is there, written once, and written before it is read: else the graph has a cycle."""
    written: set[int] = set()
    made = {tensor for operation in graph.operations for tensor in operation.outputs}
    known = range(ABSENT, len(graph.tensors))
    if not all(tensor in known for tensor in (*graph.inputs, *graph.outputs)):
        raise _not_a_model("an end of its graph is a tensor that it does not have")
    for index, operation in enumerate(graph.operations):
        if not all(tensor in known for tensor in (*operation.inputs, *operation.outputs)):
            raise _not_a_model(f"operation {index} ({operation.op}) names a tensor that it does not have")
        early = [t for t in operation.inputs if t in made and t not in written and t != ABSENT]
        if early and not graph.tensors[early[0]].variable:
            raise _not_a_model(
                f"operation {index} ({operation.op}) reads {graph.tensors[early[0]].name!r} before it is made"
            )
        if any(tensor in written for tensor in operation.outputs if tensor != ABSENT):
            raise _not_a_model(f"operation {index} ({operation.op}) writes a tensor that another one wrote")
        written.update(operation.outputs)
