"""Kinds of values made of values: lists, records with known keys, and mappings whose keys a user chooses."""

from collections.abc import Callable
from enum import Enum
from functools import cached_property
from typing import Any, NamedTuple

from msgspec import NODEFAULT, Struct
from msgspec.structs import fields

from fleetctl.manifest.complaints import INVALID, Complaint, unknown
from fleetctl.manifest.kinds import Complaints, JsonSchema, Kind, Text, decode_pairs, refuse, twice
from fleetctl.manifest.numbers import Quantity
from fleetctl.manifest.tree import Items, Node, Pairs, Scalar


class ListOf(Struct, frozen=True):
    """A list, by default of at least one item; `exactly` fixes its length."""

    item: Kind
    least: int = 1
    exactly: int | None = None
    unique: bool = False

    @property
    def label(self) -> str:
        count = f"{self.exactly} times " if self.exactly else ""
        return f"list of {count}{self.item.label}"

    def decode(self, node: Node, complaints: Complaints) -> Any:
        if type(node) is not Items:
            hint = f"write [{node.text}]" if type(node) is Scalar and node.text else ""
            return refuse(node, "list", complaints, hint)
        values = tuple([self.item.decode(item, complaints) for item in node.items])
        if self.unique:
            self._complain_of_repeats(node, values, complaints)
        if wrong := self._wrong_length(len(values)):
            complaints.append(Complaint(node, wrong))
            return INVALID  # nobody else has to expect a list of another length
        return values

    def _wrong_length(self, count: int) -> str:
        if self.exactly is not None:
            return f"must have {self.exactly} items, not {count}" if count != self.exactly else ""
        return "must not be an empty list" if count < self.least else ""

    def _complain_of_repeats(self, node: Items, values: tuple[Any, ...], complaints: Complaints) -> None:
        seen: set[Any] = set()
        for item, value in zip(node.items, values, strict=True):
            if value in seen and value is not INVALID:
                complaints.append(Complaint(item, f"`{value}` is in the list twice"))
            seen.add(value)

    def json_schema(self) -> JsonSchema:
        schema: JsonSchema = {"type": "array", "items": self.item.json_schema()}
        if self.exactly is not None:
            return schema | {"minItems": self.exactly, "maxItems": self.exactly}
        if self.least:
            schema["minItems"] = self.least
        if self.unique:
            schema["uniqueItems"] = True
        return schema


class Field(Struct, frozen=True):
    """A key of a record. What an absent `derived` key means is worked out, not the default of the type."""

    name: str
    kind: Kind
    doc: str
    required: bool = False
    derived: bool = False


class Record(Struct, frozen=True, dict=True):
    """A mapping with known keys.

    `build` makes the value from the decoded keys, and is left out for a plain dict (in which a wrong value
    is `INVALID`). `defaults` is the type whose defaults hold for absent keys: for the manual and the
    schema. Of the keys in `one_of`, exactly one must be there.
    """

    name: str
    fields: tuple[Field, ...]
    build: Callable[..., Any] | None = None
    defaults: type[Struct] | None = None
    one_of: tuple[str, ...] = ()

    @cached_property
    def _decoders(self) -> dict[str, Callable[[Node, Complaints], Any]]:
        return {field.name: field.kind.decode for field in self.fields}

    @cached_property
    def _required(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields if field.required)

    @property
    def label(self) -> str:
        return f"[{self.name}](#{self.name.replace(' ', '-')})"

    def decode(self, node: Node, complaints: Complaints) -> Any:
        if type(node) is not Pairs:
            return refuse(node, "mapping", complaints)
        return self.read(node, node.pairs, complaints)

    def read(self, node: Pairs, pairs: list[tuple[Scalar, Node]], complaints: Complaints) -> Any:
        """The value of `pairs`, which are those of `node` or a part of them."""
        before = len(complaints)
        values: dict[str, Any] = {}
        decoders = self._decoders
        for key, child in pairs:
            name = key.text
            decode = decoders.get(name)
            if decode is None:
                complaints.append(unknown(key, "key", name[:80], decoders, f"keys are {', '.join(decoders)}"))
            elif name in values:
                complaints.append(twice(key, pairs))
            else:
                values[name] = decode(child, complaints)
        self._complain_of_missing(node, values, complaints)
        if self.build is None:
            return values
        return INVALID if len(complaints) > before else self.build(**values)

    def _complain_of_missing(self, node: Pairs, values: dict[str, Any], complaints: Complaints) -> None:
        for name in self._required:
            if name not in values and not is_misspelt(name, node):
                complaints.append(Complaint(node, f"`{name}` is missing"))
        if self.one_of and len([name for name in self.one_of if name in values]) != 1:
            names = " and ".join(f"`{name}`" for name in self.one_of)
            complaints.append(Complaint(node, f"must have exactly one of {names}"))

    def default(self, field: Field) -> Any:
        """What an absent key stands for, as it would be written; None where there is no such value."""
        if self.defaults is None or field.derived:
            return None
        known = {each.name: each.default for each in fields(self.defaults)}
        value = known.get(field.name, NODEFAULT)
        if value in (NODEFAULT, "", ()):
            return None
        if isinstance(value, tuple):
            return list(value) if isinstance(value[0], int) else None
        if isinstance(field.kind, Quantity):
            return None if value is None else f"{value:g}s"
        return value.value if isinstance(value, Enum) else value

    def json_schema(self) -> JsonSchema:
        schema: JsonSchema = {
            "type": "object",
            "properties": {field.name: self._property(field) for field in self.fields},
            "additionalProperties": False,
        }
        if self._required:
            schema["required"] = list(self._required)
        if self.one_of:
            schema["oneOf"] = [{"required": [name]} for name in self.one_of]
        return schema

    def _property(self, field: Field) -> JsonSchema:
        schema = field.kind.json_schema() | {"description": field.doc}
        default = self.default(field)
        return schema if default is None else schema | {"default": default}


def is_misspelt(name: str, node: Node) -> bool:
    """Whether a mapping that lacks the key `name` has another that looks like it: one problem, not two."""
    import difflib  # for people with a typing mistake only: start-up counts

    keys = [key.text[:80] for key, _ in node.pairs] if isinstance(node, Pairs) else []
    return bool(difflib.get_close_matches(name, keys, n=1, cutoff=0.7))


class Entry(NamedTuple):
    """A named thing of the manifest: the key that names it, what was written, and what that means."""

    key: Scalar
    node: Node
    value: Any


class Named(Struct, frozen=True):
    """Things under names of the user's choice, each kept with its place: models, groups, boards."""

    name: Text
    item: Record
    noun: str

    @property
    def label(self) -> str:
        return f"mapping of names to {self.item.label}"

    def decode(self, node: Node, complaints: Complaints) -> Any:
        if type(node) is not Pairs:
            return refuse(node, f"mapping of {self.noun} names", complaints)
        entries: dict[str, Entry] = {}
        new = tuple.__new__  # a fleet has many boards
        decode_name, decode_item = self.name.decode, self.item.decode
        for key, child in node.pairs:
            name = decode_name(key, complaints)
            value = decode_item(child, complaints)
            if name in entries:
                complaints.append(twice(key, node.pairs))
            elif name is not INVALID:
                entries[name] = new(Entry, (key, child, value))
        return entries

    def json_schema(self) -> JsonSchema:
        return {
            "type": "object",
            "propertyNames": self.name.json_schema(),
            "additionalProperties": {"$ref": f"#/$defs/{self.noun}"},
        }


class MapOf(Struct, frozen=True):
    """A mapping of names to values of one kind."""

    key: Kind
    value: Kind

    @property
    def label(self) -> str:
        return f"mapping of: {self.key.label}, to: {self.value.label}"

    def decode(self, node: Node, complaints: Complaints) -> Any:
        if type(node) is not Pairs:
            return refuse(node, "mapping", complaints)
        return decode_pairs(node, self.key, self.value, complaints)

    def json_schema(self) -> JsonSchema:
        return {
            "type": "object",
            "propertyNames": self.key.json_schema(),
            "additionalProperties": self.value.json_schema(),
        }


class Tagged(Struct, frozen=True):
    """One of several records; the word under `tag` says which."""

    tag: str
    cases: dict[str, Record]

    @property
    def label(self) -> str:
        return " or ".join(record.label for record in self.cases.values())

    def decode(self, node: Node, complaints: Complaints) -> Any:
        if type(node) is not Pairs:
            return refuse(node, f"mapping with `{self.tag}`", complaints)
        tags = [(key, child) for key, child in node.pairs if key.text == self.tag]
        hint = f"one of {', '.join(self.cases)}"
        if not tags:
            complaints.append(Complaint(node, f"`{self.tag}` is missing", hint))
            return INVALID
        if len(tags) > 1:
            complaints.append(twice(tags[1][0], node.pairs))
        chosen = tags[0][1]
        if type(chosen) is not Scalar or chosen.text not in self.cases:
            word = chosen.text if type(chosen) is Scalar else ""
            complaints.append(unknown(chosen, self.tag, word[:80], self.cases, hint))
            return INVALID
        rest = [pair for pair in node.pairs if pair[0].text != self.tag]
        return self.cases[chosen.text].read(node, rest, complaints)

    def json_schema(self) -> JsonSchema:
        return {"oneOf": [self._case(tag, record.json_schema()) for tag, record in self.cases.items()]}

    def _case(self, tag: str, schema: JsonSchema) -> JsonSchema:
        properties = {self.tag: {"const": tag}, **schema["properties"]}
        return schema | {"properties": properties, "required": [self.tag, *schema.get("required", [])]}
