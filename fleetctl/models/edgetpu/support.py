"""Whether the Edge TPU can compute one operation, taken by itself."""

import math
from collections.abc import Callable, Collection

from fleetctl.models.edgetpu import limits, roles
from fleetctl.models.edgetpu.graph import ABSENT, Graph, Operation, Tensor
from fleetctl.models.edgetpu.reason import Reason

MAX_RANK = 3  # innermost dimensions that may be greater than 1

SUPPORTED = frozenset(
    [
        "ADD",
        "AVERAGE_POOL_2D",
        "CONCATENATION",
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "EXPAND_DIMS",
        "FULLY_CONNECTED",
        "L2_NORMALIZATION",
        "LOGISTIC",
        "LSTM",
        "MAXIMUM",
        "MAX_POOL_2D",
        "MEAN",
        "MINIMUM",
        "MUL",
        "PACK",
        "PAD",
        "PRELU",
        "QUANTIZE",
        "REDUCE_MAX",
        "REDUCE_MIN",
        "RELU",
        "RELU6",
        "RELU_N1_TO_1",
        "RESHAPE",
        "RESIZE_BILINEAR",
        "RESIZE_NEAREST_NEIGHBOR",
        "RSQRT",
        "SLICE",
        "SOFTMAX",
        "SPACE_TO_DEPTH",
        "SPLIT",
        "SQUARED_DIFFERENCE",
        "SQUEEZE",
        "STRIDED_SLICE",
        "SUB",
        "SUM",
        "TANH",
        "TRANSPOSE",
        "TRANSPOSE_CONV",
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
    ]
)
"""Coral's table of supported operations for compiler 16.0 and runtime 14."""

_ADVICE = {
    "ARG_MAX": "take the maximum on the board, from the scores",
    "CAST": "feed and read int8 or uint8",
    "DEQUANTIZE": "convert with uint8 or int8 output",
    "DIV": "multiply by the reciprocal",
    "EXP": "decode boxes on the board",
    "GELU": "use ReLU",
    "HARD_SWISH": "use ReLU6",
    "LEAKY_RELU": "use PReLU, or max(x, a*x)",
    "SPLIT_V": "split into equal parts, or slice",
    "SQRT": "use the reciprocal square root",
    "TILE": "concatenate, or let a constant be tiled before conversion",
    "CUSTOM:TFLite_Detection_PostProcess": "none needed: boxes are picked on the processor, at the end",
    "CUSTOM:PosenetDecoderOp": "none needed: poses are decoded on the processor, at the end",
}
_REPLACE = "move it behind the network, or replace it with a supported operation"
_INTEGER_ONLY = "quantize the model to int8 throughout"


def obstacle(graph: Graph, operation: Operation, known: Collection[int]) -> Reason | None:
    """What keeps an operation off the Edge TPU whatever surrounds it; None if nothing does.

    `known` are tensors that become constants when the model is compiled.
    """
    for check in _CHECKS:
        if reason := check(graph, operation, known):
            return reason
    return limits.exceeded(graph, operation)


def quantized(tensor: Tensor) -> bool:
    """Whether a tensor is one the Edge TPU computes with."""
    return tensor.dtype in ("INT8", "UINT8")


def _kind(graph: Graph, operation: Operation, known: Collection[int]) -> Reason | None:
    del known
    if operation.op in SUPPORTED:
        return None
    name = operation.op.removeprefix("CUSTOM:")
    return Reason(
        f"the Edge TPU has no {name}", _first(graph, operation), _ADVICE.get(operation.op, _REPLACE)
    )


def _whole(graph: Graph, operation: Operation, known: Collection[int]) -> Reason | None:
    del known
    needed = operation.inputs[: roles.required(operation)]
    if ABSENT in needed or len(needed) < roles.required(operation) or not _first_output(operation):
        return Reason("it lacks an input or an output", _first(graph, operation), "export the model again")
    return None


def _parameters(graph: Graph, operation: Operation, known: Collection[int]) -> Reason | None:
    for index in roles.parameters(operation):
        tensor = graph.tensors[index]
        if not tensor.constant and index not in known:
            return Reason(
                "a parameter is not constant when compiled", tensor.name, "make it a constant of the model"
            )
    return None


def _data_types(graph: Graph, operation: Operation, known: Collection[int]) -> Reason | None:
    del known
    for index in (*roles.activations(operation), roles.weights(operation)):
        tensor = graph.tensors[index]
        if index != ABSENT and not quantized(tensor):
            what = f"it works on {tensor.dtype.lower()}, not on int8 or uint8"
            return Reason(what, tensor.name, _type_advice(graph, operation))
    bias = roles.bias(operation)
    if bias != ABSENT and graph.tensors[bias].dtype != "INT32":
        what = f"its bias is {graph.tensors[bias].dtype.lower()}, not int32"
        return Reason(what, graph.tensors[bias].name, _INTEGER_ONLY)
    return None


def _quantization(graph: Graph, operation: Operation, known: Collection[int]) -> Reason | None:
    del known
    for index in roles.activations(operation):
        tensor = graph.tensors[index]
        if tensor.scales == 0:
            return Reason("a tensor has no quantization scale", tensor.name, _INTEGER_ONLY)
        if tensor.scales > 1 and not tensor.constant:
            return Reason("a tensor is quantized by channel", tensor.name, "quantize activations as a whole")
    return None


def _rank(graph: Graph, operation: Operation, known: Collection[int]) -> Reason | None:
    del known
    for index in roles.activations(operation):
        tensor = graph.tensors[index]
        if math.prod(tensor.shape[:-MAX_RANK]) != 1:
            what = f"a tensor has more than {MAX_RANK} dimensions over 1"
            return Reason(what, tensor.name, _rank_advice(tensor))
    return None


_CHECKS: tuple[Callable[[Graph, Operation, Collection[int]], Reason | None], ...] = (
    _kind,
    _whole,
    _parameters,
    _data_types,
    _quantization,
    _rank,
)


def _type_advice(graph: Graph, operation: Operation) -> str:
    if operation.op == "QUANTIZE" and quantized(graph.tensors[operation.outputs[0]]):
        return "none needed at the input; convert with uint8 or int8 input to be rid of it"
    return _INTEGER_ONLY


def _rank_advice(tensor: Tensor) -> str:
    if len(tensor.shape) == limits.BATCH_RANK:
        return "fix batch to 1"
    return "reshape it to height, width and channels"


def _first(graph: Graph, operation: Operation) -> str:
    """The name of the first tensor that an operation writes, by which a person knows it."""
    output = _first_output(operation)
    return graph.tensors[output[0]].name if output else ""


def _first_output(operation: Operation) -> tuple[int, ...]:
    return tuple(tensor for tensor in operation.outputs[:1] if tensor != ABSENT)
