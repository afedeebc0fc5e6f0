"""Free loopback ports that stay free: below the range of the system's own, and held against other labs."""

import contextlib
import hashlib
import socket
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from fleetctl.errors import FleetError

LOOPBACK = "127.0.0.1"
_FIRST, _LAST = 20_000, 32_000  # Linux hands out 32768 and up, macOS 49152 and up


def free_ports(lab: Path, taken: Collection[int]) -> Iterator[int]:
    """Ports nobody listens on and that are not `taken`, from a place of its own for each lab folder.

    Raises:
        FleetError: there are none left.
    """
    span = _LAST - _FIRST
    start = int.from_bytes(hashlib.sha256(bytes(lab)).digest()[:4], "big") % span
    for step in range(span):
        port = _FIRST + (start + step) % span
        if port not in taken and _is_nobodys(port):
            yield port
    raise FleetError(
        f"no loopback port between {_FIRST} and {_LAST} is free", hint="stop a lab you no longer need"
    )


def is_free(port: int, address: str = LOOPBACK) -> bool:
    """Whether a listener could be opened on that loopback address now."""
    return _can_bind(port, address, beside_others=True)


def hold(port: int) -> socket.socket | None:
    """Keep a port on which nobody listens yet from other labs, until its socket is closed; None if taken.

    Linux lets a server listen where others merely sit, as long as all of them said that they share
    (socket(7), SO_REUSEADDR). Elsewhere sitting there would be in the server's own way.
    """
    if sys.platform != "linux":
        return None
    seat = socket.socket()
    seat.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        seat.bind((LOOPBACK, port))
    except OSError:
        seat.close()
        return None
    return seat


def _is_nobodys(port: int) -> bool:
    """Whether nobody listens there and no lab holds it."""
    return _can_bind(port, LOOPBACK, beside_others=False)


def _can_bind(port: int, address: str, *, beside_others: bool) -> bool:
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, beside_others)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
