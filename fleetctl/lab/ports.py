"""Free loopback ports that stay free: taken below the range from which systems hand out ephemeral ports."""

import contextlib
import hashlib
import socket
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
        if port not in taken and is_free(port):
            yield port
    raise FleetError(
        f"no loopback port between {_FIRST} and {_LAST} is free", hint="stop a lab you no longer need"
    )


def is_free(port: int, address: str = LOOPBACK) -> bool:
    """Whether a listener could be opened on that loopback address now."""
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
