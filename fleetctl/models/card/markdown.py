"""The little Markdown that a card needs, with cells that cannot break a table."""

from collections.abc import Iterable, Sequence

from fleetctl.listed import listed

MOST = 15
"""Rows of lists that could be endless."""


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table; the first column is aligned left, the others right where they hold numbers."""
    body = [[cell(text) for text in row] for row in rows]
    numeric = [bool(body) and all(_is_number(row[k]) for row in body) for k in range(len(columns))]
    rule = ["---:" if right else "---" for right in numeric]
    return [_line(columns), _line(rule), *(_line(row) for row in body)]


def cell(text: str) -> str:
    """Text that stays inside its cell, whatever a label or a file name holds."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def percent(fraction: float | None, decimals: int = 1) -> str:
    """A fraction of 1 in percent, or a dash for None."""
    return "-" if fraction is None else f"{100 * fraction:.{decimals}f} %"


def some(items: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    return listed(items, MOST)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _is_number(text: str) -> bool:
    return text in ("", "-") or text[0] in "+-0123456789"
