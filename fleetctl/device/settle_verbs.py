"""The verbs that settle what is under way: `confirm`, `revert` and `recover`."""

from __future__ import annotations

import time
from typing import Any, Dict, Optional

from .activation import Activation
from .board_error import BoardError
from .call import Call, digest_of, number
from .files import Json
from .locks import locked
from .records import Records
from .recovery import recover as finish_or_undo
from .recovery import revert_lapsed, settle_environment, settle_link
from .release_files import altered_files
from .staging import mend
from .trust import demand_return
from .way_back import release_before, went_back


def confirm(call: Call) -> Dict[str, Any]:
    """Keep the release that is on probation."""
    digest = digest_of(call.request, "release")
    with call.lock("confirm"):
        activation = Activation.of(call)
        finish_or_undo(activation)
        return activation.confirm(digest)


def revert(call: Call) -> Dict[str, Any]:
    """Go back; raises `revert-failed` where the board does not serve what it went back to."""
    request, reason = call.request, call.request.get("reason")
    to, trial = (None if request.get(key) is None else digest_of(request, key) for key in ("to", "trial"))
    said = reason[:500] if isinstance(reason, str) else "asked to"
    with call.lock("revert"):
        activation = Activation.of(call)
        answer = end_trial(activation, trial, said) if trial else go_back(activation, to, said, call.request)
    if answer["state"] != "reverted":
        raise BoardError("revert-failed", "; ".join(answer["receipt"]["reasons"]))
    return answer


def end_trial(activation: Activation, trial: str, reason: str) -> Dict[str, Any]:
    """End the probation of one release; where it has ended by itself, nothing is left to do.

    Who asks late, after the board went back or took another order, must not have it leave what it confirmed.

    Raises:
        BoardError: `not-pending`; somebody confirmed that release.
    """
    recovered = finish_or_undo(activation)
    board, pending = activation.board, activation.records.pending
    if pending and pending.get("release") == trial:
        return revert_lapsed(activation, pending, reason)
    if board.current == trial and recovered != "revert_failed":
        raise BoardError("not-pending", "release %s is not on probation any more" % trial[:12])
    last = activation.records.receipt or {}
    failed_before = last.get("release") == trial and last.get("state") == "revert_failed"
    state = "revert_failed" if failed_before or recovered == "revert_failed" else "reverted"
    return {"state": state, "current": board.current, "receipt": last or None}


def go_back(activation: Activation, to: Optional[str], reason: str, request: Json) -> Dict[str, Any]:
    """End what is on probation; where nothing is, go to `to`, or to what was confirmed before.

    An order to go back that was cut short is no trial to end: given again, it is carried out.

    Raises:
        BoardError: `nothing-before`; or what `go_back_to` and `demand_return` raise.
    """
    is_again = bool(activation.records.pending.get("told"))
    recovered = finish_or_undo(activation)
    board, pending = activation.board, activation.records.pending
    if pending and is_again and to in (None, pending["release"]):
        return keep_way_back(activation, pending)
    if pending and to in (None, pending.get("previous")):
        return revert_lapsed(activation, pending, reason)
    has_gone_back = recovered in ("reverted", "revert_failed")
    if has_gone_back and (to == board.current or (to is None and not is_again)):
        return {"state": recovered, "current": board.current, "receipt": activation.records.receipt}
    if to is None:
        receipts = activation.records.history(1 << 30)
        if went_back(receipts, board.current):  # who asks again means boards that could not be asked before
            receipt = activation.records.receipt
            return {"state": "reverted", "stayed": True, "current": board.current, "receipt": receipt}
        to = release_before(receipts, board.current, board.has_release)
    if to is None:
        raise BoardError("nothing-before", "this board holds no release from before the current one")
    return go_back_to(activation, to, reason, demand_return(board, request, to))


def go_back_to(activation: Activation, digest: str, reason: str, signed: Optional[Json]) -> Dict[str, Any]:
    """Swap to an older release that lies here; it is tried and proved like a new one, and then kept.

    Raises:
        BoardError: `unknown-release`, or `damaged-release`.
    """
    board, current = activation.board, activation.board.current
    if not board.has_release(digest):
        raise BoardError("unknown-release", "release %s is no longer on this board" % digest[:12])
    mend(board, digest)
    if altered_files(board, digest):
        raise BoardError("damaged-release", "release %s was altered on this board" % digest[:12])
    order = {
        "board": board.config(digest, "config/serve.json").get("board"),
        "commit": activation.records.commit_of(digest),
        "signed": signed,
        "told": {"reasons": [reason], "left": current},
    }
    answer = activation.try_release(digest, activation.before(), order)
    if answer["state"] != "pending":
        return dict(answer, state="revert_failed")
    return keep_way_back(activation, activation.records.pending)


def keep_way_back(activation: Activation, pending: Json) -> Dict[str, Any]:
    """Keep the older release that a board went to, and that proved itself again."""
    activation.confirm(pending["release"])
    receipt = dict(activation.records.receipt or {}, **pending["told"])
    return {"state": "reverted", "current": activation.board.current, "receipt": receipt}


def recover(call: Call) -> Dict[str, Any]:
    """Finish or undo what was interrupted, and start the service if it is down."""
    if call.before_start:
        return settle_before_start(call)
    with call.lock("recover"):
        activation = Activation.of(call)
        state = finish_or_undo(activation)
        current = call.board.current
        if current and not activation.serves(current):
            mend(call.board, current)
            activation.start_again(current, time.monotonic() + number(call.request, "deadline", 60.0))
        return {"state": state, "current": current}


def settle_before_start(call: Call) -> Dict[str, Any]:
    """As `ExecStartPre` of the service: whoever holds the lock is starting it, and knows what it does."""
    try:
        with locked(call.board, "recover", 0.0):
            activation = Activation.of(call)
            state, current = settle_link(activation), call.board.current
            if current:
                mend(call.board, current)
                settle_environment(activation, current)
    except BoardError as error:
        if error.code != "busy":
            raise
        state = "busy"
    except OSError:
        if Records(call.board).pending:
            raise
        state = "clean"  # a disk that can only be read any more has all that is to be served
    return {"state": state, "current": call.board.current}
