"""What stands between a release's unit and what systemd makes of it: an edited file, a drop-in over it."""

from __future__ import annotations

import os
import re
from typing import Any, Dict, Iterator, List, Mapping, Optional

from .alterations import alteration
from .files import names, sha256_file
from .layout import Board
from .release_files import FileRef

FOLDER = "/etc/systemd/system"
# Where else systemd looks for drop-ins of a unit.
OTHERS = (
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
)


def unit_changes(
    board: Board, digest: str, wanted: Mapping[str, FileRef], unit_folder: str
) -> Dict[str, Dict[str, Any]]:
    """By path: the installed unit, where its bytes are not the release's, and every drop-in over it.

    Each as `alterations` tells it: sha256 (null where the unit is gone), since, by. Empty where no systemd
    keeps the service.
    """
    unit = unit_of(board, digest, wanted)
    if unit is None:
        return {}
    installed = os.path.join(unit_folder, unit)
    found = sha256_file(installed)
    right = found == wanted["unit/%s" % unit].sha256
    changes = {} if right else {installed: alteration(installed, found)}
    changes.update((path, alteration(path, sha256_file(path))) for path in _drop_ins(unit, unit_folder))
    return changes


def unit_of(board: Board, digest: str, wanted: Mapping[str, FileRef]) -> Optional[str]:
    """The name of the unit that a release brings; None where no systemd keeps its service."""
    config = board.config(digest, "config/service.json")
    unit = str(config.get("unit"))
    usable = "unit/%s" % unit in wanted and re.match(r"[A-Za-z0-9@_.-]+\Z", unit)
    return unit if usable and config.get("manager") == "systemd" else None


def drop_in_folders(unit: str, unit_folder: str) -> List[str]:
    """Where drop-ins of a unit would lie."""
    folders = (unit_folder, *(OTHERS if unit_folder == FOLDER else ()))
    return [os.path.join(folder, "%s.d" % unit) for folder in folders]


def unit_is_other(board: Board, digest: str, wanted: Mapping[str, FileRef], unit_folder: str) -> bool:
    """Whether the installed unit itself is not the release's; a drop-in is none of ours to undo."""
    return any(not path.endswith(".conf") for path in unit_changes(board, digest, wanted, unit_folder))


def _drop_ins(unit: str, unit_folder: str) -> Iterator[str]:
    for place in drop_in_folders(unit, unit_folder):
        for name in names(place) if os.path.isdir(place) else ():
            if name.endswith(".conf"):
                yield os.path.join(place, name)
