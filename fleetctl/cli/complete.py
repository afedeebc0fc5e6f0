"""What a shell offers after Tab: names of boards, groups and models, read from the manifest.

A shell that asks must neither hear a complaint nor wait: a manifest that cannot be read offers nothing.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

from fleetctl.project import DEFAULT_MANIFEST

if TYPE_CHECKING:
    from fleetctl.manifest.schema import Fleet


def selections(ctx: typer.Context, incomplete: str) -> list[str]:
    """For `--on`: the last of its terms, with those before it left as they are."""
    fleet = _fleet(ctx)
    if fleet is None:
        return []
    before, comma, term = incomplete.rpartition(",")
    no = "!" if term.startswith("!") else ""
    words = [*fleet.boards, *(f"@{group}" for group in fleet.groups), *_labels(fleet)]
    return [f"{before}{comma}{no}{word}" for word in _beginning(words, term[len(no) :])]


def boards(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of boards."""
    fleet = _fleet(ctx)
    return _beginning(fleet.boards, incomplete) if fleet else []


def models(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of models."""
    fleet = _fleet(ctx)
    return _beginning(fleet.models, incomplete) if fleet else []


def _fleet(ctx: typer.Context) -> "Fleet | None":
    from fleetctl.errors import FleetError
    from fleetctl.manifest.loader import load

    try:
        return load(ctx.params.get("file") or DEFAULT_MANIFEST)
    except FleetError:
        return None


def _labels(fleet: "Fleet") -> list[str]:
    pairs = {f"{key}={value}" for board in fleet.boards.values() for key, value in board.labels.items()}
    return sorted(pairs)


def _beginning(words: Iterable[str], start: str) -> list[str]:
    return [word for word in words if word.startswith(start)]
