"""YAML text as a tree of tuples in which every value knows its file, line and column.

PyYAML's own `compose` recurses in C, so that two hundred thousand opening brackets end the process, and it
resolves types that only the reader of a value can know. Building the tree from libyaml's events avoids both:
depth and size are bounded, aliases are counted before they are followed, and a scalar stays the text it is.
"""

import io
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn, Protocol, cast

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from fleetctl.errors import ManifestError, Problem
from fleetctl.manifest.syntax import control_character, syntax_problem, unreadable

MAX_DEPTH = 64  # of collections within collections, aliases followed
MAX_VALUES = 5_000_000  # in one file, aliases followed: twice what 100,000 well-described boards need

FASTEST_PARSER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Mark(Protocol):
    """A place in a file, as PyYAML gives it; `line` and `column` count from 0."""

    @property
    def name(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


class Scalar(NamedTuple):
    """A single value as written. `plain` is true where it has no quotes and YAML may take it for a number."""

    mark: Mark
    text: str
    plain: bool


class Items(NamedTuple):
    """A list."""

    mark: Mark
    items: "list[Node]"


class Pairs(NamedTuple):
    """A mapping in the order of the file, duplicate keys and all; merge keys (`<<`) are already followed."""

    mark: Mark
    pairs: "list[tuple[Scalar, Node]]"


Node = Scalar | Items | Pairs


class _Frame(NamedTuple):
    """A collection that is still open: what surrounds it, where it began, and what it will be known as."""

    around: list[Node]
    deepest: int  # of the collection around it, so far
    mark: Mark
    anchor: str | None
    is_mapping: bool
    values: int  # in the file before it


class _Anchored(NamedTuple):
    """What an alias stands for, and what following it costs."""

    node: Node
    values: int
    height: int


class _NamedBytes(io.BytesIO):
    """Bytes with the name that PyYAML puts into every mark."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


def parse(data: bytes, name: str, parser: type[Any] = FASTEST_PARSER) -> Node:
    """The one document in `data`, the bytes of the file shown as `name`; `parser` is one of PyYAML's loaders.

    Raises:
        ManifestError: it is not UTF-8, not YAML, not exactly one document, too deep or too large, or uses
            what fleetctl leaves out of YAML: tags, and keys that are not single words.
    """
    problems = unreadable(data, name)
    if problems:
        raise ManifestError(problems)
    try:
        return _Builder(parser(_NamedBytes(data, name)), name, merges=b"<<" in data).build()
    except yaml.MarkedYAMLError as error:
        raise ManifestError([syntax_problem(error, data, name)]) from None
    except yaml.reader.ReaderError as error:
        raise ManifestError([control_character(error, data, name)]) from None


class _Builder:
    """Turns events into nodes on a stack of its own, so that no input can exhaust Python's."""

    def __init__(self, parser: Any, name: str, *, merges: bool = True) -> None:
        """`merges`: whether there may be merge keys; few files have any, and every key would be asked."""
        self.name = name
        self.merges = merges
        self.next_event: Callable[[], Any] = parser.get_event
        self.problems: list[Problem] = []
        self.anchors: dict[str, _Anchored] = {}
        self.stack: list[_Frame] = []
        # Of the innermost open collection; a mapping's keys and values alternate.
        self.children: list[Node] = []
        self.deepest = 0  # level reached inside it
        self.values = 0

    def build(self) -> Node:
        """Read every event, then give the one document or raise every problem."""
        new = tuple.__new__  # half the price of Scalar(...), on the one path that every value takes
        next_event, children, values = self.next_event, self.children, self.values
        while (event := next_event()) is not None:
            kind = type(event)
            if kind is ScalarEvent:
                children.append(scalar := new(Scalar, (event.start_mark, event.value, event.implicit[0])))
                values += 1
                if values > MAX_VALUES:
                    self._too_large(event)
                if event.tag is not None or event.anchor is not None:
                    self._mark(event, scalar)
                continue
            self.values = values
            if kind is MappingStartEvent or kind is SequenceStartEvent:
                self._open(event, is_mapping=kind is MappingStartEvent)
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                self._close()
            elif kind is AliasEvent:
                self._follow(event)
            elif kind is DocumentStartEvent and self.children:
                self._stop(event, "a second document begins here", "keep one document in a file")
            children, values = self.children, self.values
        if not self.children:
            self.problems.append(
                Problem(self.name, 0, 0, "", "is empty", "`fleetctl init` writes an example")
            )
        if self.problems:
            raise ManifestError(self.problems)
        return self.children[0]

    def _mark(self, event: Any, scalar: Scalar) -> None:
        """What few values have: a tag, which is refused, and an anchor."""
        if event.tag is not None:
            self._refuse_tag(event)
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchored(scalar, 1, 0)

    def _open(self, event: Any, *, is_mapping: bool) -> None:
        if event.tag is not None:
            self._refuse_tag(event)
        frame = self.children, self.deepest, event.start_mark, event.anchor, is_mapping, self.values
        self.stack.append(tuple.__new__(_Frame, frame))
        self.children = []
        self.deepest = len(self.stack)
        if self.deepest > MAX_DEPTH:
            self._too_deep(event)
        self.values += 1
        if self.values > MAX_VALUES:
            self._too_large(event)

    def _close(self) -> None:
        around, deepest, mark, anchor, is_mapping, values = self.stack.pop()
        node = self._mapping(mark, self.children) if is_mapping else Items(mark, self.children)
        if anchor is not None:
            height = self.deepest - len(self.stack)
            self.anchors[anchor] = _Anchored(node, self.values - values, height)
        around.append(node)
        self.children = around
        if deepest > self.deepest:
            self.deepest = deepest

    def _follow(self, event: Any) -> None:
        anchored = self.anchors.get(event.anchor)
        if anchored is None:  # an anchor is known once its node is closed, so a node cannot hold itself
            self._stop(event, f"alias `*{event.anchor}` has no anchor `&{event.anchor}` before it", "")
        self.deepest = max(self.deepest, len(self.stack) + anchored.height)
        if self.deepest > MAX_DEPTH:
            self._too_deep(event)
        self.values += anchored.values
        if self.values > MAX_VALUES:
            self._too_large(event)
        self.children.append(anchored.node)

    def _mapping(self, mark: Mark, inside: list[Node]) -> Pairs:
        keys = inside[::2]
        for key in keys:
            if type(key) is not Scalar:
                self._note(key.mark, "a list or a mapping cannot be a key", "")
                return Pairs(mark, [])
        pairs = cast("list[tuple[Scalar, Node]]", list(zip(keys, inside[1::2], strict=True)))
        return tuple.__new__(Pairs, (mark, self._merged(pairs) if self.merges else pairs))

    def _merged(self, pairs: list[tuple[Scalar, Node]]) -> list[tuple[Scalar, Node]]:
        """`pairs` with what their merge keys bring in; what a mapping says itself wins over that."""
        own = [(key, value) for key, value in pairs if key.text != "<<" or not key.plain]
        if len(own) == len(pairs):
            return pairs
        known = {key.text for key, _ in own}
        brought: list[tuple[Scalar, Node]] = []
        for key, value in pairs:
            if key.text != "<<" or not key.plain:
                continue
            for source in value.items if isinstance(value, Items) else [value]:
                if not isinstance(source, Pairs):
                    self._note(key.mark, "a merge key needs a mapping or a list of them", "write `<<: *name`")
                    continue
                brought += [pair for pair in source.pairs if pair[0].text not in known]
                known |= {key.text for key, _ in source.pairs}
        return brought + own

    def _too_large(self, event: Any) -> NoReturn:
        what = f"more than {MAX_VALUES:,} values up to here, aliases followed"
        self._stop(event, what, "split the fleet, or give settings to a group instead of each board")

    def _too_deep(self, event: Any) -> NoReturn:
        self._stop(event, f"collections are nested more than {MAX_DEPTH} deep, aliases followed", "")

    def _refuse_tag(self, event: Any) -> None:
        self._note(
            event.start_mark,
            f"tag `{_shown(event.tag)}` is not used here",
            "quote text, leave the rest plain",
        )

    def _note(self, mark: Mark, what: str, hint: str) -> None:
        self.problems.append(Problem(mark.name, mark.line + 1, mark.column + 1, "", what, hint))

    def _stop(self, event: Any, what: str, hint: str) -> NoReturn:
        self._note(event.start_mark, what, hint)
        raise ManifestError(self.problems)


def _shown(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")
