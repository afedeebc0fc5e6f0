"""Kinds of single values: each reads a node, gives its JSON Schema, and names itself for the manual.

A kind's `decode` returns the value, or notes what is wrong and returns `INVALID`; it never raises. Kinds are
the one description of the manifest: decoder, schema and reference are three readings of it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol

from msgspec import Struct, field

from fleetctl.manifest.complaints import INVALID, Complaint, unknown
from fleetctl.manifest.plain import Word, boolean, sort_of
from fleetctl.manifest.tree import Items, Node, Pairs, Scalar

_REMEMBERED = 1000  # texts of a kind, at most

Complaints = list[Complaint]
JsonSchema = dict[str, Any]


class Kind(Protocol):
    """A description of values."""

    @property
    def label(self) -> str:
        """What the manual calls it, in Markdown."""
        ...

    def decode(self, node: Node, complaints: Complaints) -> Any:
        """The value of `node`, or `INVALID` after a complaint."""
        ...

    def json_schema(self) -> JsonSchema:
        """The same as JSON Schema, draft 2020-12, of the document as YAML 1.2 reads it."""
        ...


def shown(node: Node) -> str:
    """What a node is, in a few words of a message."""
    if isinstance(node, Items):
        return "a list"
    if isinstance(node, Pairs):
        return "a mapping"
    if not node.plain:
        return f"the text {_cut(node.text)!r}"
    match sort_of(node.text):
        case Word.NULL:
            return "nothing"
        case Word.BOOLEAN | Word.SLIPPERY_BOOLEAN:
            return f"the boolean `{node.text}`"
        case Word.INTEGER | Word.NUMBER | Word.SLIPPERY_NUMBER:
            return f"the number `{_cut(node.text)}`"
    return f"`{_cut(node.text)}`"


def _cut(text: str) -> str:
    line = text if len(text) <= 40 else text[:37] + "..."
    return line.replace("\n", "\\n")


def refuse(node: Node, wanted: str, complaints: Complaints, hint: str = "") -> Any:
    """Note that `node` is not `wanted`, and give `INVALID`."""
    complaints.append(Complaint(node, f"must be {_article(wanted)}, not {shown(node)}", hint))
    return INVALID


def _article(noun: str) -> str:
    if not noun[0].isalpha():
        return noun
    return f"an {noun}" if noun[0].lower() in "aeio" else f"a {noun}"


_UNQUOTED = {
    Word.NULL: ("nothing", "give it a value, or remove the key"),
    Word.BOOLEAN: ("a boolean", 'quote it: "{0}"'),
    Word.SLIPPERY_BOOLEAN: ("a boolean to many YAML readers", 'quote it: "{0}"'),
    Word.INTEGER: ("a number", 'quote it: "{0}"'),
    Word.NUMBER: ("a number", 'quote it: "{0}"'),
    Word.NOT_FINITE: ("a number", 'quote it: "{0}"'),
    Word.SLIPPERY_NUMBER: ("a number to some YAML readers", 'quote it: "{0}"'),
}


def text_of(node: Node, wanted: str, complaints: Complaints) -> Any:
    """The text of a scalar that every YAML reader takes for text, else `INVALID` after a complaint."""
    if type(node) is not Scalar:
        return refuse(node, wanted, complaints)
    if node.plain and (sort := sort_of(node.text)) is not Word.TEXT:
        what, hint = _UNQUOTED[sort]
        said = what if sort is Word.NULL else f"`{_cut(node.text)}`, which unquoted is {what}"
        complaints.append(
            Complaint(node, f"must be {_article(wanted)}, not {said}", hint.format(_cut(node.text)))
        )
        return INVALID
    return node.text


class Text(Struct, frozen=True, dict=True):
    """Text that matches `pattern` whole. `what` is said where it does not, and in the manual."""

    what: str
    pattern: str
    hint: str = ""

    @cached_property
    def _match(self) -> Callable[[str], object]:
        return re.compile(rf"(?:{self.pattern})\Z").match

    @cached_property
    def _taken(self) -> set[str]:
        """Texts that were taken without quotes before: what boards have in common is looked at once."""
        return set()

    @property
    def label(self) -> str:
        return self.what

    def matches(self, text: str) -> bool:
        """Whether `text` would be taken: for what is said elsewhere than in the manifest."""
        return self._match(text) is not None

    def decode(self, node: Node, complaints: Complaints) -> Any:
        if type(node) is Scalar and node.text in self._taken:
            return node.text
        text = text_of(node, self.what, complaints)
        if text is INVALID:
            return INVALID
        if not self._match(text):
            return refuse(node, self.what, complaints, self.hint)
        if type(node) is Scalar and node.plain and len(self._taken) < _REMEMBERED:
            self._taken.add(text)
        return text

    def json_schema(self) -> JsonSchema:
        # `(?!\n)` because `$` also matches before a final newline in Python's readers of JSON Schema.
        return {"type": "string", "pattern": rf"^(?:{self.pattern})$(?!\n)"}


class Choice(Struct, frozen=True, dict=True):
    """One of a few words."""

    options: type[StrEnum]
    noun: str
    refused: Mapping[str, str] = field(default_factory=dict)  # words that are known and still not taken: why

    @cached_property
    def _values(self) -> dict[str, StrEnum]:
        return {option.value: option for option in self.options}

    @property
    def label(self) -> str:
        return ", ".join(f"`{value}`" for value in self._values)

    def decode(self, node: Node, complaints: Complaints) -> Any:
        if type(node) is Scalar and (value := self._values.get(node.text)) is not None:
            return value
        text = text_of(node, self.noun, complaints)
        if text is INVALID:
            return INVALID
        if text in self.refused:
            what, _, hint = self.refused[text].partition("; ")
            complaints.append(Complaint(node, f"`{text}` {what}", hint))
            return INVALID
        complaints.append(
            unknown(node, self.noun, _cut(text), self._values, f"one of {', '.join(self._values)}")
        )
        return INVALID

    def json_schema(self) -> JsonSchema:
        return {"enum": list(self._values)}


class Constant(Struct, frozen=True):
    """Exactly this word."""

    value: str

    @property
    def label(self) -> str:
        return f"`{self.value}`"

    def decode(self, node: Node, complaints: Complaints) -> Any:
        if type(node) is Scalar and node.text == self.value:
            return self.value
        return refuse(node, f"`{self.value}`", complaints)

    def json_schema(self) -> JsonSchema:
        return {"const": self.value}


class Boolean(Struct, frozen=True):
    """`true` or `false`, and none of YAML 1.1's other words for them."""

    label: str = "`true` or `false`"

    def decode(self, node: Node, complaints: Complaints) -> Any:
        if type(node) is Scalar and node.plain:
            sort = sort_of(node.text)
            if sort is Word.BOOLEAN:
                return boolean(node.text)
            if sort is Word.SLIPPERY_BOOLEAN:
                truth = "true" if node.text.lower() in ("yes", "on") else "false"
                return refuse(node, "`true` or `false`", complaints, f"write `{truth}`")
        return refuse(node, "`true` or `false`", complaints)

    def json_schema(self) -> JsonSchema:
        return {"type": "boolean"}


class Anything(Struct, frozen=True):
    """Any value that JSON has: what templates get, so all we ask is that every YAML reader sees the same."""

    label: str = "any value"

    def decode(self, node: Node, complaints: Complaints) -> Any:
        if isinstance(node, Scalar):
            return self._scalar(node, complaints)
        if isinstance(node, Items):
            return [self.decode(item, complaints) for item in node.items]
        return decode_pairs(node, _FREE_KEY, self, complaints)

    def _scalar(self, node: Scalar, complaints: Complaints) -> Any:
        if not node.plain:
            return node.text
        match sort_of(node.text):
            case Word.TEXT:
                return node.text
            case Word.INTEGER:
                return int(node.text)
            case Word.NUMBER:
                return float(node.text)
            case Word.BOOLEAN:
                return boolean(node.text)
            case Word.NULL:
                return None
            case Word.SLIPPERY_BOOLEAN:
                hint = f'write `true` or `false`, or quote it: "{node.text}"'
                complaints.append(
                    Complaint(node, f"`{node.text}` is a boolean to some YAML readers only", hint)
                )
            case Word.SLIPPERY_NUMBER:
                hint = f'write it in plain decimal digits, or quote it: "{_cut(node.text)}"'
                complaints.append(
                    Complaint(node, f"`{_cut(node.text)}` is not the same to all YAML readers", hint)
                )
            case Word.NOT_FINITE:
                complaints.append(Complaint(node, f"`{_cut(node.text)}` is not a finite number", ""))
        return INVALID

    def json_schema(self) -> JsonSchema:
        return {}


_FREE_KEY = Text("a name", r"[^\x00-\x1f\x7f]{1,256}")


def decode_pairs(node: Pairs, key_kind: Kind, value_kind: Kind, complaints: Complaints) -> dict[Any, Any]:
    """A mapping with names of the user's choice; keys that are wrong or there twice are complained about."""
    values: dict[str, Any] = {}
    decode_value = value_kind.decode
    for key, child in node.pairs:
        name = key_kind.decode(key, complaints)
        value = decode_value(child, complaints)
        if name in values:
            complaints.append(twice(key, node.pairs))
        elif name is not INVALID:
            values[name] = value
    return values


def twice(key: Scalar, pairs: Sequence[tuple[Scalar, Node]]) -> Complaint:
    """The complaint about a key whose name an earlier key of the same mapping has."""
    first = next(other for other, _ in pairs if other.text == key.text)
    return Complaint(key, "is defined twice", f"first on line {first.mark.line + 1}")
