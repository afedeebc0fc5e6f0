"""What the Edge TPU asks of single operations, beyond data types and shapes that all share.

The limits are those of Coral's table of supported operations (coral.ai/docs/edgetpu/models-intro), corrected
where a model that compiler 16.0 mapped whole goes beyond them. Where nobody documents a number, it lies
between the largest known to be mapped and the smallest known not to be, which are named beside it.
"""

import math
from collections.abc import Callable, Sequence

from fleetctl.models.edgetpu import roles
from fleetctl.models.edgetpu.graph import ABSENT, Graph, Operation, Tensor
from fleetctl.models.edgetpu.reason import Reason

BATCH_RANK = 4  # dimension 0 is the batch where there are four
MAX_SOFTMAX = 16_384  # elements; 16,384 are mapped, the table says 16,000
MAX_REDUCED = 16_384  # elements averaged into one; 64x128 are mapped, 256x128 are not (edgetpu#461)
MAX_KERNEL = 63  # both sides; compiling 64x64 fails
MAX_RESIZED = (
    2 * 1024 * 1024
)  # elements of the output; 128x128x64 are mapped, 1024x1024x3 are not (edgetpu#597)
MAX_SCALE = 8  # resizing 1x and 2x is mapped, 15x and 33x are not
MAX_FEATURES = 950  # of an LSTM's input; compiling up to some 900 works, above 1,000 fails (edgetpu#598)
# Moving channels to the end: 64x24x24 and 4x128x128 are mapped, 64x32x32 and 32x64x64 are not (onnxsim#1418).
MAX_MOVED, FEW_CHANNELS = 48 * 1024, 4
_CHANNELS_LAST = [0, 2, 3, 1]

Limit = Callable[[Graph, Operation], Reason | None]


def exceeded(graph: Graph, operation: Operation) -> Reason | None:
    """The limit that an operation of a supported kind goes beyond, if any."""
    limit = _LIMITS.get(operation.op)
    return limit(graph, operation) if limit else None


def _convolution(graph: Graph, operation: Operation) -> Reason | None:
    weights = graph.tensors[operation.inputs[1]]
    if len(weights.shape) != BATCH_RANK:
        return Reason("its weights are not four-dimensional", weights.name, "export the model again")
    height, width = weights.shape[1:3]
    across, down = (operation.options.get(name, 1) for name in ("DilationWFactor", "DilationHFactor"))
    if across != down and height > 1 and width > 1:  # along a side of 1 there is nothing to dilate
        return Reason(
            "its dilation differs in x and y", graph.tensors[operation.outputs[0]].name, "dilate both alike"
        )
    if min(height, width) > MAX_KERNEL:
        return Reason("its kernel is 64x64 or larger", weights.name, "use a smaller kernel, or two of them")
    return None


def _conv_2d(graph: Graph, operation: Operation) -> Reason | None:
    channels = _shape(graph, operation.inputs[0])[-1:]
    weights = graph.tensors[operation.inputs[1]]
    if channels and weights.shape[-1:] != channels:
        return Reason("it is a grouped convolution", weights.name, "use one convolution for each group")
    return _convolution(graph, operation)


def _fully_connected(graph: Graph, operation: Operation) -> Reason | None:
    output = graph.tensors[operation.outputs[0]]
    if operation.options.get("WeightsFormat", 0):
        weights = graph.tensors[operation.inputs[1]]
        return Reason("its weights are shuffled", weights.name, "convert with the default weights format")
    if math.prod(output.shape[:-1]) != 1:
        return Reason(
            "its output has more than one dimension", output.name, "fix batch to 1, or use a 1x1 convolution"
        )
    return None


def _no_fused_activation(graph: Graph, operation: Operation) -> Reason | None:
    if operation.options.get("FusedActivationFunction", 0):
        output = graph.tensors[operation.outputs[0]]
        return Reason("an activation is fused into it", output.name, "put the activation after it, unfused")
    return None


def _concatenation(graph: Graph, operation: Operation) -> Reason | None:
    constants = [graph.tensors[i] for i in operation.inputs if i != ABSENT and graph.tensors[i].constant]
    if constants and (len(operation.inputs) != 2 or not constants[0].is_zero()):
        return Reason(
            "it joins a constant that is no zero padding",
            constants[0].name,
            "pad with zeros, or add it later",
        )
    return _no_fused_activation(graph, operation)


def _reduction(graph: Graph, operation: Operation) -> Reason | None:
    source = graph.tensors[roles.data(operation)]
    axes = _axes(graph, operation, 1, len(source.shape))
    if _is_batch(0, source) and 0 in axes:
        return Reason("it reduces the batch", source.name, "reduce the other dimensions only")
    return None


def _mean(graph: Graph, operation: Operation) -> Reason | None:
    source = graph.tensors[roles.data(operation)]
    axes = _axes(graph, operation, 1, len(source.shape))
    depth = len(source.shape) - 1
    if depth in axes and source.shape[depth] % 4:
        return Reason(
            "it averages channels whose number is no multiple of 4",
            source.name,
            "pad the channels, or use x and y",
        )
    if math.prod(source.shape[axis] for axis in axes) > MAX_REDUCED:
        return Reason(
            "it averages too many elements at once",
            source.name,
            "split the tensor, average the parts, join them",
        )
    return _reduction(graph, operation)


def _pack(graph: Graph, operation: Operation) -> Reason | None:
    output = graph.tensors[operation.outputs[0]]
    return _batch_touched(output, operation.options.get("Axis", 0))


def _pad(graph: Graph, operation: Operation) -> Reason | None:
    source = graph.tensors[operation.inputs[0]]
    padding = graph.tensors[operation.inputs[1]].integers()
    if padding is not None and _is_batch(0, source) and padding[:2].any():
        return Reason("it works on the batch", source.name, "pad the other dimensions only")
    return None


def _prelu(graph: Graph, operation: Operation) -> Reason | None:
    alpha = graph.tensors[operation.inputs[1]]
    if math.prod(alpha.shape[:-1]) != 1:
        return Reason(
            "its alpha has more than one dimension", alpha.name, "give Keras' PReLU shared_axes=[1, 2]"
        )
    return None


def _resize(graph: Graph, operation: Operation) -> Reason | None:
    source, output = (graph.tensors[i] for i in (operation.inputs[0], operation.outputs[0]))
    if len(source.shape) != BATCH_RANK or len(output.shape) != BATCH_RANK:
        return Reason("it resizes what is no image", source.name, "give it height, width and channels")
    sides = list(zip(source.shape[1:3], output.shape[1:3], strict=True))
    if all(before == after for before, after in sides):
        return None
    if math.prod(output.shape) > MAX_RESIZED:
        return Reason(
            "its output is too large", output.name, "resize before the channels grow, or on the board"
        )
    if any(before < 1 or after > MAX_SCALE * before for before, after in sides):
        return Reason(
            "it enlarges too much for the Edge TPU's precision",
            output.name,
            "enlarge in steps of 2, or on the board",
        )
    return None


def _softmax(graph: Graph, operation: Operation) -> Reason | None:
    source = graph.tensors[operation.inputs[0]]
    if math.prod(source.shape[-1:]) > MAX_SOFTMAX:
        return Reason(
            "it has too many classes", source.name, f"have at most {MAX_SOFTMAX:,}, or leave it out"
        )
    return None


def _split(graph: Graph, operation: Operation) -> Reason | None:
    source = graph.tensors[operation.inputs[1]]
    axis = graph.tensors[operation.inputs[0]].integers()
    return _batch_touched(source, int(axis[0])) if axis is not None and len(axis) else None


def _strided_slice(graph: Graph, operation: Operation) -> Reason | None:
    strides = graph.tensors[operation.inputs[3]] if len(operation.inputs) > 3 else None
    values = strides.integers() if strides else None
    if strides is not None and values is not None and (values != 1).any():
        return Reason("its strides are not all 1", strides.name, "use a strided convolution or pooling")
    if operation.options.get("EllipsisMask", 0) or operation.options.get("NewAxisMask", 0):
        output = graph.tensors[operation.outputs[0]]
        return Reason("it has an ellipsis or a new axis", output.name, "slice every dimension, then reshape")
    return None


def _lstm(graph: Graph, operation: Operation) -> Reason | None:
    source = graph.tensors[operation.inputs[0]]
    if math.prod(source.shape[-1:]) > MAX_FEATURES:
        return Reason(
            "it has too many features at each step", source.name, "reduce them first, by a 1x1 convolution"
        )
    return None


def _transpose(graph: Graph, operation: Operation) -> Reason | None:
    source, order = (graph.tensors[i] for i in operation.inputs[:2])
    moved = order.integers()
    if moved is None or list(moved) != _CHANNELS_LAST or len(source.shape) != BATCH_RANK:
        return None
    if source.shape[1] > FEW_CHANNELS and math.prod(source.shape) > MAX_MOVED:
        return Reason(
            "it moves too many channels to the end", source.name, "export the model with channels last"
        )
    return None


def _axes(graph: Graph, operation: Operation, position: int, rank: int) -> set[int]:
    values = graph.tensors[operation.inputs[position]].integers()
    named = [] if values is None else [int(value) + rank * (value < 0) for value in values]
    return {axis for axis in named if 0 <= axis < rank}


def _batch_touched(tensor: Tensor, axis: int) -> Reason | None:
    if _is_batch(axis, tensor):
        return Reason("it works on the batch", tensor.name, "work on another dimension")
    return None


def _is_batch(axis: int, tensor: Tensor) -> bool:
    return len(tensor.shape) >= BATCH_RANK and axis in (0, -len(tensor.shape))


def _shape(graph: Graph, tensor: int) -> Sequence[int]:
    return graph.tensors[tensor].shape


_LIMITS: dict[str, Limit] = {
    "AVERAGE_POOL_2D": _no_fused_activation,
    "CONCATENATION": _concatenation,
    "CONV_2D": _conv_2d,
    "DEPTHWISE_CONV_2D": _convolution,
    "FULLY_CONNECTED": _fully_connected,
    "LSTM": _lstm,
    "MAX_POOL_2D": _no_fused_activation,
    "MEAN": _mean,
    "PACK": _pack,
    "PAD": _pad,
    "PRELU": _prelu,
    "REDUCE_MAX": _reduction,
    "REDUCE_MIN": _reduction,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "SOFTMAX": _softmax,
    "SPLIT": _split,
    "STRIDED_SLICE": _strided_slice,
    "SUM": _reduction,
    "TRANSPOSE": _transpose,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm,
}
