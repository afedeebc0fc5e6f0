"""Reading a JSON document that may be wrong: values are asked for by type, a wrong one is named by place."""

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

_HUGE = 1e300
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Malformed(ValueError):
    """A document is not what it should be. `place` is a dotted path, or empty; line 0 means unknown."""

    def __init__(self, what: str, *, place: str = "", line: int = 0, column: int = 0) -> None:
        super().__init__(f"{place}: {what}" if place else what)
        self.what = what
        self.place = place
        self.line = line
        self.column = column


class Node:
    """One value of a document, and where it stands.

    Every method raises `Malformed` where the value is not of the type asked for.
    """

    def __init__(self, value: object, place: str = "") -> None:
        self.value = value
        self.place = place

    def refuse(self, what: str) -> NoReturn:
        raise Malformed(what, place=self.place)

    def key(self, name: str) -> "Node":
        """The value under `name`, which must be there."""
        mapping = self.mapping()
        if name not in mapping:
            self.refuse(f"{name!r} is missing")
        return self._child(name, mapping[name])

    def optional(self, name: str) -> "Node | None":
        """The value under `name`, or None where it is absent or null."""
        value = self.mapping().get(name)
        return None if value is None else self._child(name, value)

    def items(self) -> Iterator[tuple[str, "Node"]]:
        """The entries of an object, in order."""
        return ((name, self._child(name, value)) for name, value in self.mapping().items())

    def elements(self) -> Iterator["Node"]:
        """The elements of an array, in order."""
        if not isinstance(self.value, list):
            self.refuse(f"expected an array, got {_kind(self.value)}")
        return (Node(value, f"{self.place}[{i}]") for i, value in enumerate(self.value))

    def mapping(self) -> dict[str, Any]:
        if not isinstance(self.value, dict):
            self.refuse(f"expected an object, got {_kind(self.value)}")
        return self.value

    def text(self) -> str:
        if not isinstance(self.value, str):
            self.refuse(f"expected a text, got {_kind(self.value)}")
        return self.value

    def digest(self) -> str:
        """A sha256 in lower-case hex: safe as a file name."""
        text = self.text()
        if not _DIGEST.fullmatch(text):
            self.refuse("expected a sha256 of 64 hex digits")
        return text

    def integer(self, *, least: int | None = None) -> int:
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            self.refuse(f"expected a whole number, got {_kind(self.value)}")
        if least is not None and self.value < least:
            self.refuse(f"expected at least {least}, got {self.value}")
        return self.value

    def number(self, *, low: float = float("-inf"), high: float = float("inf")) -> float:
        """A number within [low, high]."""
        if not isinstance(self.value, int | float) or isinstance(self.value, bool):
            self.refuse(f"expected a number, got {_kind(self.value)}")
        if not abs(self.value) < _HUGE:
            self.refuse("expected a finite number")
        if not low <= self.value <= high:
            self.refuse(f"expected a number from {low:g} to {high:g}, got {self.value:g}")
        return float(self.value)

    def exactly(self, expected: str) -> None:
        """Refuse anything but this text: a schema's name, for one."""
        if self.value != expected:
            self.refuse(f"expected {expected!r}, got {str(self.value)[:60]!r}")

    def _child(self, name: str, value: object) -> "Node":
        return Node(value, f"{self.place}.{name}" if self.place else name)


def parse(data: bytes) -> Node:
    """The root of a JSON document.

    Raises:
        Malformed: not JSON, not UTF-8, a repeated key, NaN or an infinity.
    """
    try:
        return Node(json.loads(data.decode(), parse_constant=_refuse_constant, object_pairs_hook=_unique))
    except UnicodeDecodeError as error:
        raise Malformed(f"not UTF-8: byte {error.start} is 0x{data[error.start]:02x}") from None
    except json.JSONDecodeError as error:
        what = error.msg[0].lower() + error.msg[1:]
        raise Malformed(f"not JSON: {what}", line=error.lineno, column=error.colno) from None
    except Malformed:
        raise
    except ValueError as error:  # a number of thousands of digits
        raise Malformed(f"not JSON: {str(error).partition(';')[0]}") from None
    except RecursionError:
        raise Malformed("nested too deeply") from None


def _refuse_constant(name: str) -> NoReturn:
    raise Malformed(f"not JSON: {name} is not a number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise Malformed(f"the key {next(n for n in names if names.count(n) > 1)!r} is there twice")
    return found


def _kind(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
