"""What makes the compiler reject a model whole, before it looks for operations to map."""

from collections.abc import Collection, Iterator

from msgspec import Struct

from fleetctl.models.edgetpu import roles, support
from fleetctl.models.edgetpu.graph import Graph, Operation
from fleetctl.models.edgetpu.reason import Reason
from fleetctl.models.edgetpu.versions import newest

# The size of what these write depends on the values they read.
_DATA_DEPENDENT = frozenset(["UNIQUE", "WHERE"])

_STATIC = "fix batch to 1 and every other size"


class Culprit(Struct, frozen=True):
    """An operation that the compiler rejects the model for."""

    index: int
    reason: Reason


def culprits(graph: Graph, known: Collection[int]) -> list[Culprit]:
    """Every operation that the whole model is rejected for, in the order of the file."""
    return [
        Culprit(index, reason)
        for index, operation in enumerate(graph.operations)
        for reason in _reasons(graph, index, operation, known)
    ]


def unreadable(graph: Graph) -> list[Culprit]:
    """Those that keep the compiler from loading the file, whichever of its graphs they are in."""
    return [
        Culprit(index, Reason(what, graph.layer(index), _renewal(operation)))
        for index, operation in enumerate(graph.operations)
        if (what := _too_new(operation))
    ]


def is_quantized(graph: Graph) -> bool:
    """Whether any operation computes in int8 or uint8: else the compiler says "Model not quantized"."""
    return any(
        support.quantized(graph.tensors[tensor]) and not graph.tensors[tensor].constant
        for operation in graph.operations
        for tensor in roles.activations(operation)
    )


def _reasons(graph: Graph, index: int, operation: Operation, known: Collection[int]) -> Iterator[Reason]:
    """At most one reason."""
    what = _too_new(operation)
    if what:
        yield Reason(what, graph.layer(index), _renewal(operation))
        return
    for tensor in roles.sizes(operation):
        if not graph.tensors[tensor].constant and tensor not in known:
            yield Reason("its output has no fixed size", graph.tensors[tensor].name, _STATIC)
            return
    for tensor in roles.activations(operation):
        if any(side < 0 for side in graph.tensors[tensor].shape):
            yield Reason("a tensor has no fixed size", graph.tensors[tensor].name, _STATIC)
            return
    if operation.op in _DATA_DEPENDENT:
        yield Reason("its output has no fixed size", graph.layer(index), "move it behind the network")


def _too_new(operation: Operation) -> str:
    most = newest(operation.op)
    if operation.version <= most:
        return ""
    if operation.op.startswith("CUSTOM:"):
        return "the compiler does not know this custom operation"
    if not most:
        return "it is too new: the compiler's TFLite 2.5 has no such operation"
    return f"version {operation.version} is too new: the compiler's TFLite 2.5 ends at {most}"


def _renewal(operation: Operation) -> str:
    if operation.op.startswith("CUSTOM:"):
        return "use built-in operations only"
    if not newest(operation.op):
        return f"build the model without {operation.op}, or compute it behind the network"
    if operation.op == "CONV_2D":
        return "convert with TensorFlow 2.15, without grouped convolutions"
    return "convert with TensorFlow 2.15, to int8 throughout"
