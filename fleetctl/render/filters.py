"""The filters a template may use: few, on plain data, and none makes much out of little."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from jinja2 import Undefined
from jinja2.exceptions import TemplateError

MAX_TEXT = 16 << 10  # characters of anything a template makes: what a board's observation has room for


class Refusal(TemplateError):
    """Something a template may not do, found while it runs: what, and what to do instead."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


class Json(str):
    """Text that `tojson` made: it may be printed whole."""

    __slots__ = ()


def scalar(value: Any) -> str:
    """The text of a text or number."""
    if isinstance(value, bool | dict | list | tuple) or value is None:
        raise Refusal("expected a text or a number")
    return str(value)


def tojson(value: Any) -> str:
    """JSON with its keys in order. Encoded piece by piece, to stop at the limit rather than after it."""
    try:
        if isinstance(value, str | int | float):  # most values by far, and a tenth of the time
            return Json(_ENCODER.encode(value))
        return Json("".join(_bounded(_ENCODER.iterencode(value))))
    except (ValueError, TypeError) as error:
        raise Refusal(f"the value is not JSON: {error}") from None


def _bounded(pieces: Iterable[str]) -> Iterator[str]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > MAX_TEXT:
            raise Refusal(f"the value is over {MAX_TEXT:,} characters of JSON")
        yield piece


def _no_json(value: Any) -> Any:
    if isinstance(value, Undefined):
        str(value)  # raises UndefinedError, which names it
    raise TypeError(f"{type(value).__name__} has no JSON form")


_ENCODER = json.JSONEncoder(sort_keys=True, allow_nan=False, ensure_ascii=False, default=_no_json)


def unit_word(value: Any) -> str:
    """One word of a systemd command line, whatever it holds: systemd.service(5), "Command lines"."""
    text = scalar(value)
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        text = text.replace(plain, escaped)
    return f'"{text}"' if re.search(r"[\s'\";]", text) or not text else text


def _default(value: Any, fallback: Any, boolean: bool = False) -> Any:
    """`value`, or `fallback` where it is not set (with `boolean`: or empty)."""
    return fallback if isinstance(value, Undefined) or (boolean and not value) else value


def _changed_by(change: Callable[[str], str]) -> Callable[[Any], str]:
    return lambda value: change(scalar(value))


def _items(value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        raise Refusal("`items` takes a mapping")
    return sorted(value.items())


def _join(values: Any, separator: str = "") -> str:
    pieces, size = [], 0
    for value in values:
        pieces.append(scalar(value))
        size += len(pieces[-1]) + len(separator)
        if size > MAX_TEXT:
            raise Refusal(f"what it joins is over {MAX_TEXT:,} characters")
    return separator.join(pieces)


def _end(position: int, name: str) -> Callable[[Any], Any]:
    def pick(values: Any) -> Any:
        if not isinstance(values, str | list | tuple) or not values:
            raise Refusal(f"`{name}` takes a list or text that is not empty")
        return values[position]

    return pick


def _number(value: Any, kind: type[int] | type[float]) -> int | float:
    try:
        return kind(value if isinstance(value, int | float) else scalar(value)[:40])
    except (ValueError, OverflowError):
        raise Refusal(f"{str(value)[:40]!r} is not a number") from None


FILTERS: Mapping[str, Callable[..., Any]] = {
    "d": _default,
    "default": _default,
    "first": _end(0, "first"),
    "float": lambda value: _number(value, float),
    "int": lambda value: _number(value, int),
    "items": _items,
    "join": _join,
    "last": _end(-1, "last"),
    "length": len,
    "lower": _changed_by(str.lower),
    "round": lambda value, digits=0: round(_number(value, float), int(_number(digits, int))),
    "sort": sorted,
    "tojson": tojson,
    "trim": _changed_by(str.strip),
    "unit_word": unit_word,
    "upper": _changed_by(str.upper),
}
