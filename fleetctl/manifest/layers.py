"""Where a board's settings come from: the fleet's defaults, its groups in manifest order, then itself.

The same layers are merged into values and searched for the line that set one, so the two cannot disagree.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fleetctl.manifest.compounds import Entry
from fleetctl.manifest.tree import Node, Pairs, Scalar

MERGED = ("labels", "config", "runtime")  # merge key by key; every other setting is replaced whole


class Layer(NamedTuple):
    """One source of settings: `defaults`, `group pi` or `board luxor-01`."""

    label: str
    entry: Entry


def merge(base: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` laid over `base`; neither is changed."""
    merged = {**base, **settings}
    for key in MERGED:
        if key in base and key in settings:
            merged[key] = _deep(base[key], settings[key])
    return merged


def _deep(base: Any, over: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return {**base, **{key: _deep(base[key], value) if key in base else value for key, value in over.items()}}


def leaves(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """Every value that is not itself a filled mapping, with the keys that lead to it."""
    if isinstance(value, Mapping) and value:
        for key, below in value.items():
            yield from leaves(below, (*path, key))
    else:
        yield path, value


def find(node: Node, path: Sequence[str]) -> tuple[Scalar, Node] | None:
    """The key and the value at `path` below `node`."""
    found: tuple[Scalar, Node] | None = None
    for name in path:
        pairs = node.pairs if isinstance(node, Pairs) else []
        found = next((pair for pair in pairs if pair[0].text == name), None)
        if found is None:
            return None
        node = found[1]
    return found


def locate(layers: Sequence[Layer], path: Sequence[str]) -> tuple[Layer, Scalar, Node] | None:
    """The layer that has the last word on the setting at `path`, with the key and value that say it."""
    for layer in reversed(layers):
        if (found := find(layer.entry.node, path)) is not None:
            return layer, *found
    return None
