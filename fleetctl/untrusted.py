"""What boards say, read with suspicion: what has the wrong type, or no honest size, counts as not said."""

from typing import Any

_HUGE = 1e15  # no honest figure of a board is larger, whatever it counts


def mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def mappings(value: object) -> list[dict[str, Any]]:
    """Those in a list; what is none is left out."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def text(value: object, most: int = 200) -> str:
    """On one line: it becomes part of sentences, and of an error's with a hint below."""
    said = value[:most] if isinstance(value, str) else ""
    return said if said.isprintable() else "".join(c if c.isprintable() else " " for c in said)


def number(value: object) -> float | None:
    """A figure that a board may honestly state, as float; None for anything else (booleans too)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < _HUGE else None  # false for NaN and infinities too


def whole(value: object) -> int | None:
    known = number(value)
    return None if known is None else int(known)


def truth(value: object) -> bool | None:
    return value if isinstance(value, bool) else None
