"""The verb `examine`: what `fleetctl doctor` looks at, without changing anything."""

from __future__ import annotations

import os
from typing import Any, Dict, Optional

from .board_error import BoardError
from .call import Call
from .circumstances import clock_is_synchronized, disk, edge_tpus, memory, network
from .clock import utc
from .observe import interpreter_of
from .services import service_of
from .survey import survey, system
from .vitals import health


def examine(call: Call) -> Dict[str, Any]:
    board = call.board
    return {
        "schema": "fleetctl.examination/v1",
        "health": health(board.root),
        "disk": disk(board.root),
        "memory": memory(),
        "cpus": os.cpu_count(),
        "clock": {"time": utc(), "synchronized": clock_is_synchronized()},
        "network": network(),
        "edge_tpus": edge_tpus(),
        "service": service_state(call, board.current),
        "platform": survey(interpreter_of(call, board.current)),
        "system": system(),
    }


def service_state(call: Call, current: Optional[str]) -> Optional[Dict[str, Any]]:
    """What the service manager says; null where there is no service to ask it about."""
    if current is None:
        return None
    try:
        return service_of(call.board, current, call.unit_folder).described()
    except BoardError as error:
        return {"manager": None, "pid": None, "state": str(error)[:200], "restarts": None}
