"""What the serving process says about itself."""

from __future__ import annotations

import time
from typing import Any, Dict

from .files import Json
from .service_line import LineFault, ServiceLine


def healthz(config: Json, timeout: float = 2.0) -> Dict[str, Any]:
    """What the serving process says about itself; empty while nothing useful answers."""
    host, port = str(config.get("host", "127.0.0.1")), config.get("port")
    if isinstance(port, bool) or not isinstance(port, int):
        return {}
    # In all, not a word at a time: somebody else may listen there, and talk without end.
    line = ServiceLine(host, port, timeout, until=time.monotonic() + timeout)
    try:
        status, said = line.ask("GET", "/healthz")
    except LineFault:
        return {}
    finally:
        line.close()
    return said if status == 200 else {}


def state_of(said: Json) -> Dict[str, Any]:
    """The service's state, from what it says at /healthz."""
    if said.get("status") != "ok":
        return {"state": "stopped", "loaded": None}
    return {
        "state": "running",
        "loaded": {
            key: said.get(key) for key in ("release", "model_sha256", "accelerator", "pid", "started")
        },
    }
