"""What a board said that still is as it was when it was last looked at: see `device/kept_look.py`."""

import json
from collections.abc import Mapping
from typing import Any

from fleetctl.device.healthz import state_of
from fleetctl.device.layout import LOOK
from fleetctl.device.vitals import health_of, integer
from fleetctl.store import sha256
from fleetctl.transports import wire
from fleetctl.transports.ssh_connection import Outcome
from fleetctl.transports.wire import BoardFault

# A board without bash, or with nothing kept, goes on to whatever stands behind this.
ASK = f'[ -f "$1/state/{LOOK}" ] && LC_ALL=C TZ=UTC0 bash -p "$1/state/{LOOK}" "$4" 2>/dev/null && exit; '
_MARK = b"~look "
_LINES = 9  # the time, the reply, disk, memory, uptime, load, temperatures, throttling, the service


def key(runtime: str, python: str) -> str:
    """What a look is kept by: the digest of the modules that took it, and the Python that it was about."""
    return sha256(f"{runtime} {python}".encode())[:16]


def parse(stdout: bytes) -> Mapping[str, Any] | None:
    """The reply of `observe` that a board said again, with what is so now in its place.

    None for anything else, and for what came damaged: then the board has to be looked at.
    """
    place = stdout.rfind(_MARK)
    lines = stdout[place:].decode(errors="replace").split("\n") if place >= 0 else []
    if len(lines) < _LINES:
        return None
    time, reply, disk, memory, uptime, load, heat, throttled, service = lines[:_LINES]
    try:
        said = wire.parse_reply("observe", reply.encode())
        if service:
            said["service"] = state_of(wire.tamed(json.loads(service)))
    except (BoardFault, ValueError, TypeError, RecursionError):
        return None
    said["time"] = time.removeprefix(_MARK.decode())
    said["health"] = health_of(heat, throttled, _free_bytes(disk), memory, uptime, load)
    return said


def is_damaged(outcome: Outcome) -> bool:
    """Whether a board ran what it kept, though nothing that `parse` could read came of it."""
    return outcome.status == 0 and (_MARK in outcome.stdout or not outcome.stdout.strip())


def _free_bytes(disk: str) -> int | None:
    """As Python has it: what the system reserves counts for root alone."""
    user, available, free, size = (integer(word) for word in (*disk.split(), "", "", "", "")[:4])
    blocks = free if user == 0 else available
    return None if blocks is None or size is None else blocks * size
