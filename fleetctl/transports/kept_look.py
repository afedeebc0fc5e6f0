"""What a board said that still is as it was when it was last looked at: see `device/kept_look.py`."""

import json
from collections.abc import Mapping
from typing import Any

from fleetctl.device.healthz import state_of
from fleetctl.device.layout import LOOK
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
    said["health"] = _health(disk, memory, uptime, load, heat, throttled)
    return said


def is_damaged(outcome: Outcome) -> bool:
    """Whether a board ran what it kept, though nothing that `parse` could read came of it."""
    return outcome.status == 0 and (_MARK in outcome.stdout or not outcome.stdout.strip())


def _health(disk: str, memory: str, uptime: str, load: str, heat: str, throttled: str) -> dict[str, Any]:
    """As `device/vitals.py` has it, from the kernel's own words."""
    user, available, free, size = (_integer(word) for word in (*disk.split(), "", "", "", "")[:4])
    blocks = free if user == 0 else available
    degrees = [number / 1000 for number in map(_integer, heat.split()) if number is not None]
    flags = _integer(throttled.removeprefix("throttled="), 16)
    kilobytes = _integer(memory)
    return {
        "temperature_c": max(degrees, default=None),
        "throttled": None if flags is None else bool(flags & 0xF),
        "throttled_flags": flags,
        "disk_free_bytes": None if blocks is None or size is None else blocks * size,
        "memory_free_bytes": None if kilobytes is None else kilobytes * 1024,
        "uptime_s": _number(uptime),
        "load1": _number(load),
    }


def _integer(word: str, base: int = 10) -> int | None:
    try:
        return int(word, base) if len(word) <= 20 else None
    except ValueError:
        return None


def _number(word: str) -> float | None:
    try:
        return float(word) if word[:1].isdigit() else None
    except ValueError:
        return None
