"""What a template looks at, and its results remembered by that.

A template is a pure function of the values it reads, and most of a fleet's boards share those of a unit file:
ten thousand boards then have a handful of different ones.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from jinja2 import nodes

Place = tuple[str, ...]  # ("board",) for all of it, ("board", "root") for one key
Values = Mapping[str, Any]

_MOST = 256  # results a template keeps
_EACH = ("board", "name")  # differs between all boards: what reads it is not worth remembering


def places(tree: nodes.Template, names: Collection[str]) -> tuple[Place, ...]:
    """Every place below `names` that a template may read; the whole name where one cannot tell which key."""
    found = set(_places(tree, names))
    return tuple(sorted(place for place in found if len(place) == 1 or place[:1] not in found))


def _places(node: nodes.Node, names: Collection[str]) -> Iterator[Place]:
    match node:
        case nodes.Getattr(node=nodes.Name(name=name), attr=key) if name in names:
            yield name, key
        case nodes.Getitem(node=nodes.Name(name=name), arg=nodes.Const(value=str(key))) if name in names:
            yield name, key
        case nodes.Name(name=name) if name in names:
            yield (name,)
        case _:
            for child in node.iter_child_nodes():
                yield from _places(child, names)


class Remembered:
    """Calls `render` once for values that are alike in every place it reads. Failures are not remembered."""

    def __init__(self, render: Callable[[Values], str], reads: Collection[Place]) -> None:
        self._render = render
        self._reads = reads
        self._is_worth_it = _EACH not in reads and _EACH[:1] not in reads
        self._known: dict[tuple[str, ...], str] = {}

    def __call__(self, values: Values) -> str:
        if not self._is_worth_it:
            return self._render(values)
        key = tuple([_seen(values, place) for place in self._reads])
        text = self._known.get(key)
        if text is None:
            text = self._render(values)
            if len(self._known) < _MOST:
                self._known[key] = text
        return text


def _seen(values: Values, place: Place) -> str:
    """A value's own notation: it tells 60 from 60.0, and 1 from true, which are equal and print otherwise."""
    name, *keys = place
    value = values[name]
    for key in keys:
        if key not in value:
            return ""  # no value is written so
        value = value[key]
    return repr(value)
