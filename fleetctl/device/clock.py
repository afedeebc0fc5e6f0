"""Times, and waiting."""

from __future__ import annotations

import time
from typing import Callable

POLL_S = 0.025


def utc() -> str:
    return utc_of(time.time())


def utc_of(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def boot_id() -> str:
    """What changes whenever the machine starts anew; the boot time where the kernel gives no identifier."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as stream:
            return stream.read().strip()
    except OSError:
        import hashlib
        import subprocess  # slow to import, and Linux never needs it

        asked = subprocess.run(
            ["sysctl", "-n", "kern.boottime"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        return hashlib.sha256(asked.stdout).hexdigest()


def wait_until(is_so: Callable[[], bool], patience: float) -> bool:
    give_up = time.monotonic() + patience
    while not is_so():
        if time.monotonic() > give_up:
            return False
        time.sleep(POLL_S)
    return True
