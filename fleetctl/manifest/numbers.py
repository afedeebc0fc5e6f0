"""Kinds of numbers: whole ones, any within a range, and quantities with a unit."""

import math
import re
from collections.abc import Callable
from functools import cached_property
from typing import Any

from msgspec import Struct

from fleetctl.manifest.kinds import Complaints, JsonSchema, refuse
from fleetctl.manifest.plain import Word, sort_of
from fleetctl.manifest.tree import Node, Scalar

SECONDS = {"s": 1.0, "ms": 0.001, "m": 60.0, "h": 3600.0}
BYTES = {"MiB": 2.0**20, "B": 1.0, "kB": 1e3, "KB": 1e3, "KiB": 2.0**10, "MB": 1e6, "GB": 1e9, "GiB": 2.0**30}


class Integer(Struct, frozen=True):
    """A whole number, both ends included."""

    least: int
    most: int

    @property
    def label(self) -> str:
        return f"whole number, {self.least} to {self.most}"

    def decode(self, node: Node, complaints: Complaints) -> Any:
        if type(node) is Scalar and node.plain and sort_of(node.text) is Word.INTEGER:
            value = int(node.text)
            if self.least <= value <= self.most:
                return value
        return refuse(node, self.label, complaints, _plain_number_hint(node))

    def json_schema(self) -> JsonSchema:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


class Number(Struct, frozen=True):
    """A number. `least` is left out of the range where `above` is true; `scale` divides what is written."""

    least: float
    most: float
    above: bool = False
    scale: float = 1.0
    hint: Callable[[float], str] = lambda _: ""  # for a number out of range

    @property
    def label(self) -> str:
        start = f"above {self.least:g} up" if self.above else f"from {self.least:g}"
        return f"number {start} to {self.most:g}"

    def decode(self, node: Node, complaints: Complaints) -> Any:
        if (
            type(node) is not Scalar
            or not node.plain
            or sort_of(node.text) not in (Word.INTEGER, Word.NUMBER)
        ):
            return refuse(node, self.label, complaints, _plain_number_hint(node))
        value = float(node.text)
        if value < self.least or value > self.most or (self.above and value == self.least):
            return refuse(node, self.label, complaints, self.hint(value))
        return value / self.scale

    def json_schema(self) -> JsonSchema:
        return {
            "type": "number",
            "exclusiveMinimum" if self.above else "minimum": self.least,
            "maximum": self.most,
        }


def _is_long(number: str) -> bool:
    return len(number) > 20 and number.isdecimal()


def _plain_number_hint(node: Node) -> str:
    if type(node) is not Scalar:
        return ""
    bare = node.text.strip().rstrip("%").rstrip()
    if not node.plain and sort_of(bare) in (Word.INTEGER, Word.NUMBER):
        return f"write it without quotes: {bare}"
    if bare != node.text and sort_of(bare) in (Word.INTEGER, Word.NUMBER):
        return f"write {bare}, without the sign"
    if node.plain and sort_of(node.text) is Word.SLIPPERY_NUMBER and not _is_long(node.text):
        return "write it in plain decimal digits"
    return ""


class Quantity(Struct, frozen=True, dict=True):
    """A number with a unit, in text such as `1.5s`; decodes to `number * unit`. Zero only with `zero`."""

    what: str
    units: dict[str, float]
    example: str
    most: float
    zero: bool = False
    whole: bool = False  # decode to int, and take a bare whole number for the basic unit

    @cached_property
    def _pattern(self) -> str:
        units = "|".join(sorted(self.units, key=len, reverse=True))
        return rf"[0-9]{{1,15}}(?:\.[0-9]{{1,9}})? ?(?:{units})"

    @cached_property
    def _match(self) -> Callable[[str], object]:
        return re.compile(rf"{self._pattern}\Z").match

    @property
    def label(self) -> str:
        return f"{self.what} such as `{self.example}`"

    def decode(self, node: Node, complaints: Complaints) -> Any:
        if type(node) is not Scalar:
            return refuse(node, self.label, complaints)
        value = self._value(node)
        if value is None:
            return refuse(node, self.label, complaints, self._hint(node))
        if value > self.most or (value == 0 and not self.zero):
            bounds = f"{'from' if self.zero else 'above'} 0 up to {self._in_largest_unit()}"
            return refuse(node, f"{self.what} {bounds}", complaints)
        return value

    def _value(self, node: Scalar) -> float | None:
        if self.whole and node.plain and sort_of(node.text) is Word.INTEGER:
            return int(node.text) if not node.text.startswith("-") else None
        if not self._match(node.text):
            return None
        number = node.text.rstrip("".join(self.units)).rstrip()
        unit = node.text[len(number) :].strip()
        value = float(number) * self.units[unit]
        return math.ceil(value) if self.whole else value

    def _hint(self, node: Scalar) -> str:
        if node.plain and sort_of(node.text) in (Word.INTEGER, Word.NUMBER) and not node.text.startswith("-"):
            return f"add a unit: {node.text}{next(iter(self.units))}"
        return f"units are {', '.join(self.units)}"

    def _in_largest_unit(self) -> str:
        unit, factor = max(self.units.items(), key=lambda item: item[1])
        return f"{self.most / factor:g}{unit}"

    def json_schema(self) -> JsonSchema:
        above_zero = "" if self.zero else r"(?=[0-9.]*[1-9])"
        text: JsonSchema = {"type": "string", "pattern": rf"^{above_zero}{self._pattern}$(?!\n)"}
        if not self.whole:
            return text
        return {
            "anyOf": [text, {"type": "integer", "minimum": 0 if self.zero else 1, "maximum": int(self.most)}]
        }
