"""What Google's Edge TPU compiler 16.0 will make of a model, operation by operation, without running it.

The rules are the compiler's documented ones, checked against models it has compiled: see docs/edgetpu.md.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from fleetctl.errors import BuildError
from fleetctl.models.edgetpu import refusal, support
from fleetctl.models.edgetpu.compiled import CUSTOM_OP
from fleetctl.models.edgetpu.flatbuffer import read
from fleetctl.models.edgetpu.graph import Graph
from fleetctl.models.edgetpu.reason import Reason
from fleetctl.models.edgetpu.region import Place, places

_OF_CONSTANTS = "its result is read on the processor"
_AFTER, _WITH_ANOTHER = "it comes after", "the compiler rejects"


class OpPrediction(Struct, frozen=True):
    """One operation. `index` is its place in the file; `reason` is None where it is mapped."""

    index: int
    op: str
    version: int
    reason: Reason | None
    subgraph: int = 0

    @property
    def mapped(self) -> bool:
        return self.reason is None


class Prediction(Struct, frozen=True):
    """A whole model. `refusal` says why the compiler rejects it as it is; empty where it does not."""

    ops: tuple[OpPrediction, ...]
    subgraphs: int = 1
    refusal: str = ""

    @property
    def mapped(self) -> int:
        return sum(op.mapped for op in self.ops)

    @property
    def total(self) -> int:
        return len(self.ops)

    @property
    def share(self) -> float:
        """The fraction of operations that run on the Edge TPU; 0 of a model that has none."""
        return self.mapped / self.total if self.total else 0.0


def predict(model: bytes) -> Prediction:
    """Predict where each operation of a `.tflite` file will run.

    Raises:
        BuildError: the bytes are no TFLite model, or one that is compiled for the Edge TPU already.
    """
    file = read(model)
    if any(operation.op == CUSTOM_OP for graph in file.graphs for operation in graph.operations):
        raise BuildError(
            "the model is compiled for the Edge TPU already",
            hint="look into it with `fleetctl models inspect`",
        )
    others = list(enumerate(file.graphs[1:], start=1))
    unreadable = {
        (number, culprit.index): culprit.reason
        for number, graph in others
        for culprit in refusal.unreadable(graph)
    }
    named = [
        (f"{file.graphs[number].operations[index].op} in subgraph {number}", reason)
        for (number, index), reason in unreadable.items()
    ]
    main = predict_graph(file.main, named)
    rest = _because(*named[0]) if named else None
    ops = tuple(
        OpPrediction(
            index,
            operation.op,
            operation.version,
            unreadable.get((number, index)) or rest or _elsewhere(graph, index),
            number,
        )
        for number, graph in others
        for index, operation in enumerate(graph.operations)
    )
    return Prediction(main.ops + ops, len(file.graphs), main.refusal)


def predict_graph(graph: Graph, unreadable: Sequence[tuple[str, Reason]] = ()) -> Prediction:
    """Predict one graph. `unreadable` are operations of others, by name, that keep the file from loading."""
    folded = _folded(graph)
    known = {t for i, operation in enumerate(graph.operations) if folded[i] for t in operation.outputs}
    culprits = refusal.culprits(graph, known)
    if culprits or unreadable:
        return _refused(graph, culprits, unreadable)
    obstacles = [support.obstacle(graph, operation, known) for operation in graph.operations]
    found = places(graph, [obstacle is None for obstacle in obstacles], folded)
    absorbed = _absorbed(graph, folded, found)
    reasons = [
        None if place.mapped or absorbed[i] else _why(graph, i, obstacles[i], place, folded[i])
        for i, place in enumerate(found)
    ]
    if graph.operations and not refusal.is_quantized(graph):
        return _with(graph, reasons, "it is not quantized to int8")
    return _with(graph, reasons)


def _refused(
    graph: Graph, culprits: Sequence[refusal.Culprit], elsewhere: Sequence[tuple[str, Reason]]
) -> Prediction:
    """Nothing is mapped: a culprit for its own reason, everything else for the first culprit's."""
    here = [(graph.operations[culprit.index].op, culprit.reason) for culprit in culprits]
    name, first = [*here, *elsewhere][0]
    own = {culprit.index: culprit.reason for culprit in culprits}
    reasons = [own.get(index, _because(name, first)) for index in range(len(graph.operations))]
    return _with(graph, reasons, f"{name}: {first.what}")


def _because(name: str, first: Reason) -> Reason:
    return Reason(f"{_WITH_ANOTHER} the model because of {name}", first.layer, first.advice)


def _with(graph: Graph, reasons: Sequence[Reason | None], refused: str = "") -> Prediction:
    pairs = zip(graph.operations, reasons, strict=True)
    ops = tuple(OpPrediction(i, op.op, op.version, reason) for i, (op, reason) in enumerate(pairs))
    return Prediction(ops, refusal=refused)


def _folded(graph: Graph) -> list[bool]:
    """Whether each operation reads constants only, and so is done with when the model is compiled."""
    constants = {index for index, tensor in enumerate(graph.tensors) if tensor.constant}
    folded = []
    for operation in graph.operations:
        fixed = bool(operation.inputs) and all(tensor in constants for tensor in operation.inputs)
        if fixed:
            constants.update(operation.outputs)
        folded.append(fixed)
    return folded


def _absorbed(graph: Graph, folded: Sequence[bool], found: Sequence[Place]) -> list[bool]:
    """Folded operations whose results only operations on the Edge TPU read."""
    readers: dict[int, list[int]] = {}
    for index, operation in enumerate(graph.operations):
        for tensor in operation.inputs:
            readers.setdefault(tensor, []).append(index)
    absorbed, ends = [False] * len(graph.operations), set(graph.outputs)
    for index in reversed(range(len(graph.operations))):
        written = graph.operations[index].outputs
        used = [reader for tensor in written for reader in readers.get(tensor, ())]
        inside = all(found[reader].mapped or absorbed[reader] for reader in used)
        absorbed[index] = folded[index] and bool(used) and inside and ends.isdisjoint(written)
    return absorbed


def _why(graph: Graph, index: int, obstacle: Reason | None, place: Place, folded: bool) -> Reason:
    if folded:
        advice = "none needed: it is a constant"
        return Reason(_OF_CONSTANTS, graph.layer(index), advice)
    if place.cut is not None and place.cut != index:
        cut = graph.operations[place.cut].op
        layer = graph.layer(place.cut)
        return Reason(f"{_AFTER} {cut}, which ends the mapped part", layer, f"see {cut}")
    return obstacle or Reason("it is not supported", graph.layer(index), "")


def _elsewhere(graph: Graph, index: int) -> Reason:
    return Reason("it is in another subgraph than the first", graph.layer(index), "leave out control flow")


def causes(prediction: Prediction) -> Iterator[OpPrediction]:
    """Operations that stay on the processor for a reason of their own, not because of another one."""
    for op in prediction.ops:
        if op.reason and not op.reason.what.startswith((_AFTER, _WITH_ANOTHER, _OF_CONSTANTS)):
            yield op
