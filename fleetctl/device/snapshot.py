"""Keeps what was here before us, once, before the first release touches anything."""

from __future__ import annotations

import os
import stat
from typing import Any, Callable, Dict, Optional, Sequence

from .call import Checkpoint
from .clock import utc
from .durable import atomic_write, fsync_directory, remove
from .files import to_json
from .foreign import foreign_names
from .layout import Board

PRIVATE = 0o600  # what others kept here may be secret, such as a token in a unit


def adopt(
    board: Board, unit_path: Optional[str], make_room: Callable[[int], None], checkpoint: Checkpoint
) -> None:
    """Once, before anything is touched: keep a snapshot of a foreign root, and note how its `current` was.

    Args:
        make_room: sees to so many bytes of free disk.
    """
    marker = board.in_state("adopted.json")
    if os.path.exists(marker):
        return
    foreign = foreign_names(board)
    unit = unit_path if unit_path and os.path.isfile(unit_path) and board.current is None else None
    note: Dict[str, Any] = {"time": utc(), "foreign": foreign, "link": None, "unit": None, "snapshot": None}
    if foreign or unit:
        make_room(sum(tree_size(os.path.join(board.root, name)) for name in foreign))
        note["snapshot"] = snapshot(board, foreign, unit)
        checkpoint("snapshot-taken")
    if "current" in foreign and os.path.islink(board.current_link):
        note["link"] = os.readlink(board.current_link)
    if unit:
        with open(unit, encoding="utf-8", errors="surrogateescape") as stream:
            note["unit"] = stream.read()
            note["unit_mode"] = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
    atomic_write(marker, to_json(note), PRIVATE)


def snapshot(board: Board, foreign: Sequence[str], unit: Optional[str]) -> str:
    import tarfile  # slow to import: only where there is something to keep

    os.makedirs(board.snapshots, mode=0o700, exist_ok=True)
    path = new_name(board)
    aside = os.path.join(board.snapshots, ".new.%d" % os.getpid())
    try:
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE), "wb") as stream:
            with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
                for name in foreign:
                    tar.add(os.path.join(board.root, name), arcname=name)
                if unit:
                    tar.add(unit, arcname="unit/%s" % os.path.basename(unit))
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(aside, path)
    except BaseException:
        remove(aside)
        raise
    fsync_directory(board.snapshots)
    return path


def new_name(board: Board) -> str:
    """By the time; a board without a clock of its own has the same time at each boot."""
    stem, number = os.path.join(board.snapshots, utc().replace(":", "")), 1
    path = "%s.tar" % stem
    while os.path.lexists(path):
        number += 1
        path = "%s.%d.tar" % (stem, number)
    return path


def tree_size(path: str) -> int:
    if not os.path.isdir(path) or os.path.islink(path):
        return os.lstat(path).st_size
    return sum(
        os.lstat(os.path.join(folder, name)).st_size for folder, _, files in os.walk(path) for name in files
    )
