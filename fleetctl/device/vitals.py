"""The board's vital signs; null for each that it has no sensor for."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from .durable import free_bytes
from .files import names, words_of


def health(root: str) -> Dict[str, Any]:
    """Temperature, throttling, disk, memory, load and uptime; null where the board has no such sensor."""
    return health_of(
        heat=" ".join(temperatures()),
        throttled=throttle_words(),
        disk_free_bytes=free_bytes(root) if os.path.isdir(root) else None,
        memory=memory_free(),
        uptime=" ".join(words_of("/proc/uptime")[:1]),
        load=str(os.getloadavg()[0]),
    )


def health_of(
    heat: str, throttled: str, disk_free_bytes: Optional[int], memory: str, uptime: str, load: str
) -> Dict[str, Any]:
    """The vital signs, from words of the kernel and of the firmware; null for each that says no number.

    Args:
        heat: thousandths of a degree Celsius, of each thermal zone.
        throttled: what `vcgencmd get_throttled` says on a Raspberry Pi.
        memory: kilobytes.
    """
    degrees = [number / 1000.0 for number in map(integer, heat.split()) if number is not None]
    flags = integer(throttled.strip().partition("=")[2], 16)
    kilobytes = integer(memory)
    return {
        "temperature_c": max(degrees) if degrees else None,  # the hottest
        "throttled": None if flags is None else bool(flags & 0xF),  # bits 0-3: now; 16-19: since boot
        "throttled_flags": flags,
        "disk_free_bytes": disk_free_bytes,
        "memory_free_bytes": None if kilobytes is None else kilobytes * 1024,
        "uptime_s": _real(uptime),
        "load1": _real(load),
    }


def integer(word: str, base: int = 10) -> Optional[int]:
    try:
        return int(word, base) if len(word) <= 20 else None
    except ValueError:
        return None


def _real(word: str) -> Optional[float]:
    try:
        return float(word) if word[:1].isdigit() else None
    except ValueError:
        return None


def temperatures() -> List[str]:
    """What each thermal zone says that can be read."""
    zones = [name for name in names("/sys/class/thermal") if name.startswith("thermal_zone")]
    return [word for zone in zones for word in words_of("/sys/class/thermal/%s/temp" % zone)[:1]]


def throttle_words() -> str:
    """What `vcgencmd get_throttled` says; nothing on what is no Raspberry Pi."""
    if not any(os.access(os.path.join(folder, "vcgencmd"), os.X_OK) for folder in os.get_exec_path()):
        return ""
    import subprocess  # slow to import: only on a Raspberry Pi

    try:
        asked = subprocess.run(
            ["vcgencmd", "get_throttled"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout.decode("ascii", "replace")


def memory_free() -> str:
    """Kilobytes that programs could still have."""
    words = words_of("/proc/meminfo")
    return "".join(words[words.index("MemAvailable:") + 1 :][:1]) if "MemAvailable:" in words else ""


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
