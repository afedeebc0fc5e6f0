"""What `state/pending.json` says: a release on probation, its phase, and when it must go back.

Each phase is written before the step that it announces.
"""

from __future__ import annotations

import time
from typing import Any, Dict, Optional

from .clock import boot_id
from .files import Json
from .layout import DIGEST, Board
from .locks import is_flocked

TRYING, PROVED, KEEPING, REVERTING = "trying", "proved", "keeping", "reverting"


def on_probation(
    digest: str, previous: Optional[str], order: Json, phase: str, limit: float
) -> Dict[str, Any]:
    """The record of a release that goes back to `previous` unless it is confirmed by `limit`.

    `told` in it is what the receipt of a release that is kept says besides; only a `revert` has something.
    """
    left = limit - time.monotonic()
    return {
        "release": digest,
        "previous": previous,
        "phase": phase,
        "board": order.get("board"),
        "commit": order.get("commit"),
        "signed": order.get("signed"),
        "told": order.get("told", {}),
        "confirm_by": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + left)),
        "deadline_monotonic": limit,  # counts from boot for every process, whatever is done to the clock
        "boot_id": boot_id(),
    }


def is_whole(pending: Json) -> bool:
    """Whether a record has what its phase needs: a card that fails may give back less than was written."""
    release, previous, receipt = (pending.get(key) for key in ("release", "previous", "receipt"))
    is_named = _is_digest(release) and (previous is None or _is_digest(previous))
    can_go_back = pending.get("phase") != REVERTING or (isinstance(receipt, dict) and "release" in receipt)
    return is_named and can_go_back and isinstance(pending.get("told", {}), dict)


def _is_digest(said: object) -> bool:
    return isinstance(said, str) and DIGEST.match(said) is not None


def of_damaged_record(board: Board) -> Dict[str, Any]:
    """What stands for a record that is there and cannot be read: nothing runs on that is not known good."""
    current, good = board.current, board.good
    if current in (None, good):
        return {}
    return {"release": current, "previous": good, "phase": TRYING, "is_damaged": True}


def why_lapsed(board: Board, pending: Json) -> str:
    """Why a release on probation must go back now; empty while it may still be confirmed."""
    if pending.get("is_damaged"):
        return "the record of its probation is damaged"
    if pending.get("boot_id") != boot_id():
        return "the board was restarted before the release was confirmed"
    if pending.get("phase") != PROVED:
        return "the activation was cut short"
    if time.monotonic() >= pending.get("deadline_monotonic", 0.0):
        return "nobody confirmed the release in time"
    if not is_flocked(board.in_state("watch.lock")):
        return "the watcher died before the release was confirmed"
    return ""


def must_revert(pending: Json) -> bool:
    """True when the deadline has passed; and while no verb is at work, for anything it left unfinished."""
    if not pending:
        return False
    return pending.get("phase") != PROVED or time.monotonic() >= pending.get("deadline_monotonic", 0.0)
