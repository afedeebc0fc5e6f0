"""Files of a release that somebody changed behind our back: which, since when, and by whom if that shows."""

from __future__ import annotations

import os
from typing import Any, Dict, Mapping, Optional

from .clock import utc_of
from .layout import Board
from .release_files import FileRef


def alterations(
    board: Board, digest: str, wanted: Mapping[str, FileRef], found: Mapping[str, Optional[str]]
) -> Dict[str, Dict[str, Any]]:
    """What differs between a release on disk and its manifest, by path.

    `found` has the sha256 of each file, null where it is gone. `since` is when the file, or the folder that
    it is gone from, was last written; `by` is the owner of what lies there now.
    """
    folder = board.release(digest)
    differing = [path for path, ref in wanted.items() if found.get(path) != ref.sha256]
    return {path: alteration(os.path.join(folder, path), found.get(path)) for path in differing}


def alteration(path: str, sha256: Optional[str]) -> Dict[str, Any]:
    """When a file was written, or the folder that it is gone from, and who owns what lies there."""
    try:
        status = os.lstat(path if sha256 else os.path.dirname(path))
    except OSError:
        return {"sha256": sha256, "since": None, "by": None}
    return {
        "sha256": sha256,
        "since": utc_of(status.st_mtime),
        "by": _name(status.st_uid) if sha256 else None,
    }


def _name(uid: int) -> str:
    import pwd  # only where something was altered

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
