"""A fleet as JSON and back, led by the types of `schema`: for a manifest that need not be read again.

A dataclass is a list: its name, then its fields in order. What is written is read by the very same code, or
not at all: `remembered` sees to that.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from fleetctl.manifest.schema import Fleet

Decoder = Callable[[Any], Any]


def to_text(fleet: Fleet) -> str:
    return json.dumps(_plain(fleet), separators=(",", ":"))


def from_text(text: str) -> Fleet:
    """The fleet that `to_text` wrote."""
    fleet = _decoder(Fleet)(json.loads(text))
    assert isinstance(fleet, Fleet)
    return fleet


def _plain(value: Any) -> Any:
    kind: type = type(value)
    if (names := _names(kind)) is not None:
        return [kind.__name__, *(_plain(getattr(value, name)) for name in names)]
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


@cache
def _names(kind: type) -> tuple[str, ...] | None:
    """The fields of a dataclass, in order; None of any other type."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else None


@cache
def _decoder(kind: Any) -> Decoder:
    """How a value of this type is read; each type is looked at once."""
    origin, inner = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and (names := _names(kind)) is not None:
        return _record(kind, names)
    if origin in (Union, UnionType):
        return _either(inner)
    if origin is tuple:
        each = _decoder(inner[0])  # `tuple[X, ...]`, or all of one type
        return lambda value: tuple([each(item) for item in value])
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(*map(_decoder, inner))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {member.value: member for member in kind}.__getitem__
    return Path if kind is Path else _as_it_is


def _as_it_is(value: Any) -> Any:
    return value


def _record(kind: type, names: tuple[str, ...]) -> Decoder:
    hints = get_type_hints(kind)
    # Most of a board's fields are texts and numbers: only the others are looked at.
    special = [
        (place, decode)
        for place, name in enumerate(names, start=1)
        if (decode := _decoder(hints[name])) is not _as_it_is
    ]

    def decode_record(value: list[Any]) -> Any:
        for place, decode in special:
            value[place] = decode(value[place])
        return kind(*value[1:])

    return decode_record


def _mapping(key: Decoder, value: Decoder) -> Decoder:
    if key is _as_it_is and value is _as_it_is:
        return _as_it_is
    return lambda pairs: {key(name): value(each) for name, each in pairs.items()}


def _either(kinds: tuple[Any, ...]) -> Decoder:
    """One of several dataclasses, by name; or something and nothing."""
    by_name = {kind.__name__: _decoder(kind) for kind in kinds if _names(kind) is not None}
    if by_name:
        return lambda value: None if value is None else by_name[value[0]](value)
    (only,) = (_decoder(kind) for kind in kinds if kind is not NoneType)
    return lambda value: None if value is None else only(value)
