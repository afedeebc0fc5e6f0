"""The state file `repaired`: the current release has to start anew and be proved, though its files are right.

Its first line is that release. Where the interpreter was changed, the second is what the link `venv` named
when the release was proved last: a way back that does not serve with the new interpreter goes there.
"""

from __future__ import annotations

import os
import re
from typing import Optional

from .durable import atomic_write, remove, swap_link
from .layout import Board

_ENVIRONMENT = re.compile(r"environments/[0-9a-f]{16}\Z|venv\.before\.[0-9]{1,9}\Z")


def venv(board: Board) -> str:
    return os.path.join(board.root, "venv")


def linked(board: Board) -> Optional[str]:
    """What `venv` names, relative to the root; None where it is no link."""
    try:
        return os.readlink(venv(board))
    except OSError:
        return None


def demand_proof(board: Board, digest: str, left: Optional[str] = None) -> None:
    """Have a release started anew and proved.

    Args:
        left: the environment that it was proved with, which `venv` is about to leave. Of one that was noted
            before and not proved since, that is not so: the first one stays.
    """
    lines = [digest, environment_before(board) or left or ""]
    atomic_write(board.in_state("repaired"), "".join("%s\n" % line for line in lines if line).encode())


def is_proof_demanded(board: Board) -> bool:
    return os.path.exists(board.in_state("repaired"))


def note_proved(board: Board) -> None:
    remove(board.in_state("repaired"))


def environment_before(board: Board) -> Optional[str]:
    """What `venv` named when the current release was proved last, where it was changed since."""
    try:
        with open(board.in_state("repaired"), encoding="ascii") as stream:
            lines = stream.read().split("\n")
    except (OSError, ValueError):
        return None
    return lines[1] if len(lines) > 1 and _ENVIRONMENT.match(lines[1]) else None


def take_environment_back(board: Board) -> bool:
    """Have `venv` name what it named before; false where there is nothing of the kind."""
    before = environment_before(board)
    if before is None or not os.access(os.path.join(board.root, before, "bin", "python"), os.X_OK):
        return False
    if linked(board) != before:
        swap_link(venv(board), before)
    return True


def is_environment_back(board: Board) -> bool:
    """Whether `venv` was changed since the last proof, and names again what it named then."""
    before = environment_before(board)
    return before is not None and linked(board) == before
