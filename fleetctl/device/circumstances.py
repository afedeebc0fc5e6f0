"""What a board lives with: its disk, memory, clock, network and Edge TPU. Null for what cannot be told.

`slash` is where the kernel's folders lie: tests have one of their own.
"""

from __future__ import annotations

import os
import re
from typing import Any, Dict, List, Optional

from .files import names, words_of

# A USB Edge TPU has one identity until its firmware is loaded by the first inference, and another after it.
TPU_WITHOUT_FIRMWARE, TPU_AT_WORK = ("1a6e", "089a"), ("18d1", "9302")


def disk(path: str) -> Dict[str, Any]:
    """The file system that a path lies on."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    found = os.statvfs(path)
    return {
        "total_bytes": found.f_frsize * found.f_blocks,
        "free_bytes": found.f_frsize * (found.f_bfree if os.geteuid() == 0 else found.f_bavail),
        "total_files": found.f_files,
        "free_files": found.f_ffree,
        "read_only": bool(found.f_flag & os.ST_RDONLY),
    }


def memory(slash: str = "/") -> Dict[str, Optional[int]]:
    """Bytes of memory and swap."""
    words = words_of(os.path.join(slash, "proc/meminfo"))

    def kilobytes(name: str) -> Optional[int]:
        place = words.index(name) + 1 if name in words else len(words)
        return int(words[place]) * 1024 if place < len(words) and words[place].isdigit() else None

    keys = {"total_bytes": "MemTotal:", "free_bytes": "MemAvailable:", "swap_bytes": "SwapTotal:"}
    return {key: kilobytes(name) for key, name in keys.items()}


def clock_is_synchronized(slash: str = "/") -> Optional[bool]:
    """Whether something keeps the clock right: the kernel's own word where `adjtimex` can be asked."""
    if os.path.exists(os.path.join(slash, "run/systemd/timesync/synchronized")):
        return True
    if slash != "/":
        return None
    import ctypes  # slow to import: only where systemd's clock is not the one

    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(ctypes.create_string_buffer(512)))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != 5  # TIME_ERROR: the clock is not synchronized


def network(slash: str = "/") -> Dict[str, Any]:
    """Interfaces that are up, with their errors and the strength of radio; whether there is a way out."""
    folder = os.path.join(slash, "sys/class/net")
    up = [name for name in names(folder) if name != "lo" and _state(folder, name) == "up"]
    return {
        "interfaces": [_interface(slash, name) for name in up[:8]],
        "default_route": _has_default_route(slash),
    }


def edge_tpus(slash: str = "/") -> List[Dict[str, Any]]:
    """Edge TPUs on PCIe and USB; `firmware` says whether one on USB has been used since it had power."""
    found: List[Dict[str, Any]] = []
    for name in names(os.path.join(slash, "dev")):
        if re.match(r"apex_\d+\Z", name):
            words = words_of(os.path.join(slash, "sys/class/apex", name, "temp"))
            degrees = int(words[0]) / 1000.0 if words and re.match(r"-?\d+\Z", words[0]) else None
            found.append({"bus": "pcie", "port": name, "firmware": None, "temperature_c": degrees})
    for port, identity in usb_devices(slash).items():
        if identity in (TPU_WITHOUT_FIRMWARE, TPU_AT_WORK):
            firmware = identity == TPU_AT_WORK
            found.append({"bus": "usb", "port": port, "firmware": firmware, "temperature_c": None})
    return found


def usb_devices(slash: str = "/") -> Dict[str, Any]:
    """Vendor and product of every USB device, by port."""
    folder = os.path.join(slash, "sys/bus/usb/devices")
    identities = {
        port: tuple(
            word
            for file in ("idVendor", "idProduct")
            for word in words_of(os.path.join(folder, port, file))[:1]
        )
        for port in names(folder)
    }
    return {port: identity for port, identity in identities.items() if len(identity) == 2}


def _state(folder: str, name: str) -> str:
    return "".join(words_of(os.path.join(folder, name, "operstate"))[:1])


def _interface(slash: str, name: str) -> Dict[str, Any]:
    def count(what: str) -> Optional[int]:
        words = words_of(os.path.join(slash, "sys/class/net", name, "statistics", what))
        return int(words[0]) if words and words[0].isdigit() else None

    return {
        "name": name[:20],
        "packets": count("rx_packets"),
        "errors": count("rx_errors"),
        "signal_dbm": _signal(slash, name),
    }


def _signal(slash: str, name: str) -> Optional[float]:
    """The level of a radio link, from /proc/net/wireless."""
    words = words_of(os.path.join(slash, "proc/net/wireless"))
    place = words.index(name + ":") + 3 if name + ":" in words else len(words)
    try:
        return float(words[place].rstrip("."))
    except (IndexError, ValueError):
        return None


def _has_default_route(slash: str) -> Optional[bool]:
    words = words_of(os.path.join(slash, "proc/net/route"))
    if not words:
        return None
    columns = 11
    return any(words[place] == "00000000" for place in range(columns + 1, len(words), columns))
