"""The verbs that say what lies on this board: `missing` and `history`."""

from __future__ import annotations

from typing import Any, Dict

from .begun import begun
from .blobs import missing_blobs
from .board_error import BoardError
from .call import Call, number
from .layout import DIGEST
from .records import Records


def missing(call: Call) -> Dict[str, Any]:
    blobs = call.request.get("blobs")
    if not isinstance(blobs, list) or not all(isinstance(blob, str) and DIGEST.match(blob) for blob in blobs):
        raise BoardError("bad-request", "blobs is not a list of digests")
    return {"missing": missing_blobs(call.board, blobs), "begun": begun(call.board)}


def history(call: Call) -> Dict[str, Any]:
    return {"receipts": Records(call.board).history(int(number(call.request, "last", 20.0)))}
