"""What was in the root before us: telling it apart, setting it aside, bringing it back."""

from __future__ import annotations

import os
from typing import List

from .durable import fsync_directory, remove, swap_link
from .files import names, read_json
from .layout import Board

OURS = {"blobs", "releases", "current", "state", "snapshot", "trust", "venv", "environments", "wheelhouse"}


def foreign_names(board: Board) -> List[str]:
    """What lies in the root and is not ours: anything unknown, and a `current` we did not make."""
    if os.path.exists(board.in_state("adopted.json")):
        return []
    found = [name for name in names(board.root) if name not in OURS and not name.startswith(".new.")]
    if os.path.lexists(board.current_link) and board.current is None:
        found.append("current")
    return found


def set_foreign_current_aside(board: Board) -> None:
    """A foreign `current` that is a folder cannot be renamed over; it keeps its place in `current.before`."""
    if os.path.isdir(board.current_link) and not os.path.islink(board.current_link):
        os.rename(board.current_link, "%s.before" % board.current_link)


def restore_foreign_current(board: Board) -> None:
    """The `current` from before the first adoption; nothing, if there was none."""
    before = "%s.before" % board.current_link
    link = read_json(board.in_state("adopted.json")).get("link")
    if isinstance(link, str):
        swap_link(board.current_link, link)
    elif os.path.islink(board.current_link):
        remove(board.current_link)
    if os.path.isdir(before) and not os.path.lexists(board.current_link):
        os.rename(before, board.current_link)
    fsync_directory(board.root)
