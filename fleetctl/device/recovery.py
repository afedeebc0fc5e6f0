"""After a crash or a boot: finish what was cut short, or undo it.

The lock is ours, so whoever wrote `pending.json` is no longer at work on it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Dict

from .durable import remove
from .evidence import receipt_of
from .files import Json
from .pending import KEEPING, REVERTING, why_lapsed
from .repaired import environment_before, is_environment_back, venv
from .space import sweep
from .talk import complain
from .way_back import and_why

if TYPE_CHECKING:
    from .activation import Activation  # it starts the watcher, and the watcher recovers


_KEEPS_DYING = 2  # times that the service manager started it anew by itself


def recover(activation: Activation) -> str:
    """Finish or undo what was cut short: `clean`, `pending`, `confirmed`, `reverted` or `revert_failed`."""
    board = activation.board
    try:
        sweep(board)
    except OSError as error:  # litter is no reason to stay where the board is
        complain("cannot remove what was left half-written: %s" % error)
    pending = activation.records.pending
    phase = pending.get("phase")
    if not pending:
        remove(board.in_state("pending.json"))  # it may be there, and be no JSON
        return "clean"
    if phase == KEEPING:
        return str(activation.finish_keeping()["state"])
    if phase == REVERTING:
        return str(activation.finish_revert(pending)["state"])
    reason = why_lapsed(board, pending)
    return str(revert_lapsed(activation, pending, reason)["state"]) if reason else "pending"


def revert_lapsed(activation: Activation, pending: Json, reason: str) -> Dict[str, Any]:
    """Go back from a release on probation that nobody will confirm any more."""
    return activation.revert(receipt_of_lapsed(activation, pending, reason))


def receipt_of_lapsed(activation: Activation, pending: Json, reason: str) -> Dict[str, Any]:
    digest = pending["release"]
    last = activation.records.receipt or {}
    if last.get("release") != digest or last.get("state") != "pending":
        last = receipt_of(activation.board, digest, pending.get("previous"), pending, {})
    return dict(last, reasons=and_why(last.get("reasons", []), reason))


def settle_link(activation: Activation) -> str:
    """Before the service manager starts the service: only see to it that `current` is safe to start."""
    pending = activation.records.pending
    if not pending:
        return "clean"
    if pending.get("phase") == KEEPING:
        return settle_good(activation, pending)
    if pending.get("phase") != REVERTING:
        reason = why_lapsed(activation.board, pending)
        if not reason:
            return "pending"
        activation.note_reverting(receipt_of_lapsed(activation, pending, reason))
    activation.point_back(pending.get("previous"))
    try:
        activation.take_environment_back()  # nobody knows whether it or the release could not serve
    except OSError as error:
        complain("cannot go back to the environment of before: %s" % error)
    return "reverting"


def settle_environment(activation: Activation, current: str) -> None:
    """Before the service manager starts it: go back from an interpreter that nothing was proved with since
    `bootstrap` brought it, and with which the service keeps dying."""
    board = activation.board
    if environment_before(board) is None or is_environment_back(board):
        return
    is_there = os.access(os.path.join(venv(board), "bin", "python"), os.X_OK)
    if is_there and (activation.service(current).described()["restarts"] or 0) < _KEEPS_DYING:
        return
    try:
        if activation.take_environment_back():
            complain(
                "the service does not stay with a Python environment that was never proved: back to its own"
            )
    except OSError as error:
        complain("cannot go back to the environment of before: %s" % error)


def settle_good(activation: Activation, pending: Json) -> str:
    """Note that the release is good, as somebody had begun to; the next verb notes the rest."""
    try:
        activation.board.set_good(pending["release"])
    except OSError as error:  # no reason to keep it from starting
        complain("cannot note that %s is good: %s" % (str(pending["release"])[:12], error))
    return "keeping"
