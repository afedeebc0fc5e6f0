"""What the serving process says about itself."""

from __future__ import annotations

import json
from typing import Any, Dict

from .files import Json


def healthz(config: Json, timeout: float = 2.0) -> Dict[str, Any]:
    """What the serving process says about itself; empty while nothing useful answers."""
    import socket  # slow to import: only where there is a service to ask

    host, port = str(config.get("host", "127.0.0.1")), config.get("port")
    if isinstance(port, bool) or not isinstance(port, int):
        return {}
    try:
        with socket.create_connection((host, port), timeout) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")  # http.client is slower still
            with connection.makefile("rb") as stream:
                head, _, body = stream.read(1 << 16).partition(b"\r\n\r\n")
        reply = json.loads(body.decode("utf-8"))
    except (OSError, ValueError):
        return {}
    return reply if isinstance(reply, dict) and b" 200 " in head.split(b"\r\n")[0] else {}
