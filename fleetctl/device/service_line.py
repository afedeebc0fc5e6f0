"""A connection to the service on this board, of the little HTTP that its answers need.

`http.client` brings e-mail with it, and takes longer to import than a proof takes to make.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple

if TYPE_CHECKING:
    import socket

HEAD_LIMIT = 1 << 16
REPLY_LIMIT = 1 << 20


class LineFault(Exception):
    """Nothing answered, or not as the service does."""


class ServiceLine:
    """Asks one thing after the other over one connection, which is opened when it is needed."""

    def __init__(self, host: str, port: int, patience: float, until: float = float("inf")) -> None:
        """Args:
        patience: seconds to wait for any part of an answer.
        until: the moment on the monotonic clock at which all waiting ends.
        """
        self._place = (host, port)
        self._patience = patience
        self._until = until
        self._connection: Optional[socket.socket] = None

    def ask(self, method: str, path: str, body: bytes = b"") -> Tuple[int, Dict[str, Any]]:
        """Status and JSON object of the answer, errors of the service too.

        Raises:
            LineFault: there is no such answer; the next question opens the connection anew.
        """
        try:
            return self._asked(method, path, body)
        except (OSError, ValueError, OverflowError, RecursionError) as error:
            self.close()
            raise LineFault("%s: %s" % (type(error).__name__, error)) from None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _asked(self, method: str, path: str, body: bytes) -> Tuple[int, Dict[str, Any]]:
        connection = self._opened()
        words = (method, path, self._place[0], len(body))
        head = "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n" % words
        connection.sendall(head.encode("ascii") + body)
        first, fields, came = self._head(connection)
        status, length = first.split(" ", 2)[1:2], fields.get("content-length", "")
        if not status or not status[0].isdigit() or not length.isdigit() or int(length) > REPLY_LIMIT:
            raise ValueError("the answer has no status and length: %.80r" % first)
        while len(came) < int(length):
            came += self._more(connection)
        if fields.get("connection", "").lower() == "close":
            self.close()
        reply = json.loads(came[: int(length)].decode("utf-8"))
        if not isinstance(reply, dict):
            raise ValueError("the answer is no JSON object")
        return int(status[0]), reply

    def _opened(self) -> socket.socket:
        import socket  # slow to import: only where there is a service to ask

        if self._connection is None:
            self._connection = socket.create_connection(self._place, self._left())
        self._connection.settimeout(self._left())
        return self._connection

    def _head(self, connection: socket.socket) -> Tuple[str, Dict[str, str], bytes]:
        """The first line, the fields by lower-case name, and what came of the body along with them."""
        came = b""
        while b"\r\n\r\n" not in came:
            came += self._more(connection)
            if len(came) > HEAD_LIMIT:
                raise ValueError("the answer does not begin")
        head, _, start = came.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return first, {name.strip().lower(): value.strip() for name, _, value in pairs}, start

    def _more(self, connection: socket.socket) -> bytes:
        connection.settimeout(self._left())
        data = connection.recv(HEAD_LIMIT)
        if not data:
            raise ConnectionError("the service closed the connection")
        return data

    def _left(self) -> float:
        left = min(self._patience, self._until - time.monotonic())
        if left <= 0:
            raise TimeoutError("there is no time left")
        return left
