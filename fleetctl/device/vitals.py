"""The board's vital signs; null for each that it has no sensor for."""

from __future__ import annotations

import os
import re
from typing import Any, Dict, Optional

from .durable import free_bytes
from .files import names, words_of


def health(root: str) -> Dict[str, Any]:
    """Temperature, throttling, disk, memory, load and uptime; null where the board has no such sensor."""
    throttled = throttle_flags()
    return {
        "temperature_c": temperature(),
        "throttled": None if throttled is None else bool(throttled & 0xF),  # bits 0-3: now; 16-19: since boot
        "throttled_flags": throttled,
        "disk_free_bytes": free_bytes(root) if os.path.isdir(root) else None,
        "memory_free_bytes": memory_free(),
        "uptime_s": uptime(),
        "load1": os.getloadavg()[0],
    }


def temperature() -> Optional[float]:
    """The hottest thermal zone in degrees Celsius."""
    zones = [name for name in names("/sys/class/thermal") if name.startswith("thermal_zone")]
    found = [words_of("/sys/class/thermal/%s/temp" % zone) for zone in zones]
    degrees = [int(words[0]) / 1000.0 for words in found if words and re.match(r"-?\d+\Z", words[0])]
    return max(degrees) if degrees else None


def throttle_flags() -> Optional[int]:
    """The bits of `vcgencmd get_throttled` on a Raspberry Pi."""
    if not any(os.access(os.path.join(folder, "vcgencmd"), os.X_OK) for folder in os.get_exec_path()):
        return None
    import subprocess  # slow to import: only on a Raspberry Pi

    try:
        asked = subprocess.run(
            ["vcgencmd", "get_throttled"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=5
        )
        return int(asked.stdout.decode().strip().split("=", 1)[1], 16)
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError):
        return None


def memory_free() -> Optional[int]:
    words = words_of("/proc/meminfo")
    place = words.index("MemAvailable:") if "MemAvailable:" in words else None
    return None if place is None else int(words[place + 1]) * 1024


def uptime() -> Optional[float]:
    words = words_of("/proc/uptime")
    return float(words[0]) if words else None


def has_edge_tpu() -> bool:
    """True where an Edge TPU shows on PCIe, or on USB (1a6e:089a before its firmware, 18d1:9302 after)."""
    if any(name.startswith("apex_") for name in names("/dev")):
        return True
    devices = "/sys/bus/usb/devices"
    identities = (
        words_of(os.path.join(devices, name, "idVendor")) + words_of(os.path.join(devices, name, "idProduct"))
        for name in names(devices)
    )
    return any(identity in (["1a6e", "089a"], ["18d1", "9302"]) for identity in identities)
