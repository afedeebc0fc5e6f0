"""Which operations end up in the one part of the graph that runs on the Edge TPU.

The compiler cuts once, not in the order of the file but on the graph: an operation is in the region if it is
supported and nothing that leads to it has left the region before. A branch that is still inside goes on when
another one has left. Where the first operation of the file is unsupported, such as the QUANTIZE of a float
input, it runs on the processor before the region, with all that are unsupported and can run then: these end
nothing. Where the first one is supported, the region comes first, and every unsupported one ends it. That is
how TFLite gives a graph to a delegate (`PartitionGraphIntoIndependentNodeSubsets`), in parts of one kind by
turns, and the compiler takes the first part that is its own.
"""

from collections.abc import Sequence

from msgspec import Struct

from fleetctl.models.edgetpu.graph import Graph


class Place(Struct, frozen=True):
    """Where an operation comes to lie. `cut` is the operation that ended the region before it, if one did."""

    mapped: bool
    cut: int | None


def places(graph: Graph, supported: Sequence[bool], folded: Sequence[bool]) -> list[Place]:
    """The place of each operation.

    Args:
        supported: whether the Edge TPU can compute it.
        folded: whether its inputs are all constants. Such operations run in neither place: they are left
            unmapped here, and cut nothing.
    """
    producers = graph.producers()
    found: list[Place] = []
    reached: list[bool] = []  # whether an operation is in the region, or something of it leads to it
    region_first = next((able for able, gone in zip(supported, folded, strict=True) if not gone), False)
    for index, operation in enumerate(graph.operations):
        before = [producers[t] for t in operation.inputs if producers.get(t, index) < index]
        after_region = any(reached[i] for i in before)
        cut = next((found[i].cut for i in before if found[i].cut is not None), None)
        if folded[index]:
            mapped = False
        elif supported[index]:
            mapped = cut is None
        else:
            mapped = False
            cut = index if cut is None and (after_region or region_first) else cut
        found.append(Place(mapped, cut))
        reached.append(mapped or after_region)
    return found
