"""One verb being answered, and reading what it asks for."""

from __future__ import annotations

import json
from typing import Any, BinaryIO, Callable, ContextManager, Dict, NamedTuple

from .board_error import BoardError
from .files import Json
from .layout import DIGEST, Board
from .locks import locked

LOCK_WAIT_S = 10.0
REQUEST_LIMIT = 8 << 20

Checkpoint = Callable[[str], None]


class Call(NamedTuple):
    """One verb being answered: the board, the request, and the bytes that follow it."""

    board: Board
    request: Dict[str, Any]
    stream: BinaryIO
    checkpoint: Checkpoint
    unit_folder: str
    before_start: bool

    def lock(self, verb: str) -> ContextManager[None]:
        return locked(self.board, verb, number(self.request, "lock_timeout", LOCK_WAIT_S))


def read_request(stream: BinaryIO, unsaid: bytes = b"") -> Dict[str, Any]:
    """The request, which is one line.

    Args:
        unsaid: what no line at all stands for. By itself it is no request: a connection may have broken
            behind the script, and `{}` would have a board go back from what it confirmed.
    """
    line = stream.readline(REQUEST_LIMIT) or unsaid
    try:
        request = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        raise BoardError("bad-request", "the request is not one line of JSON")
    return request


def number(request: Json, key: str, default: float) -> float:
    value = request.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e6:
        raise BoardError("bad-request", "%s is not a number of seconds" % key)
    return float(value)


def digest_of(request: Json, key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str) or not DIGEST.match(value):
        raise BoardError("bad-request", "%s is not a digest" % key)
    return value
