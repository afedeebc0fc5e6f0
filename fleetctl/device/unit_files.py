"""What stands between a release's unit and what systemd makes of it: an edited file, a drop-in over it."""

from __future__ import annotations

import os
import re
from typing import Any, Dict, Iterator, Mapping

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
    config = board.config(digest, "config/service.json")
    unit = config.get("unit")
    ref = wanted.get("unit/%s" % unit)
    if config.get("manager") != "systemd" or ref is None or not re.match(r"[A-Za-z0-9@_.-]+\Z", str(unit)):
        return {}
    installed = os.path.join(unit_folder, str(unit))
    found = sha256_file(installed)
    changes = {} if found == ref.sha256 else {installed: alteration(installed, found)}
    changes.update((path, alteration(path, sha256_file(path))) for path in _drop_ins(str(unit), unit_folder))
    return changes


def unit_is_other(board: Board, digest: str, wanted: Mapping[str, FileRef], unit_folder: str) -> bool:
    """Whether the installed unit itself is not the release's; a drop-in is none of ours to undo."""
    return any(not path.endswith(".conf") for path in unit_changes(board, digest, wanted, unit_folder))


def _drop_ins(unit: str, unit_folder: str) -> Iterator[str]:
    for folder in (unit_folder, *(OTHERS if unit_folder == FOLDER else ())):
        place = os.path.join(folder, "%s.d" % unit)
        for name in names(place) if os.path.isdir(place) else ():
            if name.endswith(".conf"):
                yield os.path.join(place, name)
