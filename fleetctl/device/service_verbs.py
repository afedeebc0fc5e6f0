"""The verbs that ask the service: `probe` and `logs`."""

from __future__ import annotations

import time
from typing import Any, Dict

from .board_error import BoardError
from .call import Call, number
from .evidence import evidence_terms, prove
from .files import tail
from .records import Records
from .services import service_of


def probe(call: Call) -> Dict[str, Any]:
    """Fresh evidence from the serving process; nothing of it is stored."""
    board = call.board
    current = board.current
    if current is None:
        raise BoardError("nothing-active", "this board has no release")
    order = {"commit": Records(board).commit_of(current)}
    limit = time.monotonic() + number(call.request, "deadline", 60.0)
    receipt = prove(board, current, None, order, limit)
    receipt["state"] = "confirmed" if board.good == current else "pending"
    return dict(receipt=receipt, **evidence_terms(board, current))


def logs(call: Call) -> Dict[str, Any]:
    """The last lines of the service that is current, or was meant to be."""
    current = call.board.current or Records(call.board).pending.get("release")
    lines = int(min(number(call.request, "lines", 100.0), 10000))
    if not current:
        return {"lines": tail(call.board.in_state("serve.log"), lines)}
    return {"lines": service_of(call.board, current, call.unit_folder).log_tail(lines)}
