"""The verb `describe`: what this board is and what it still lacks, without changing anything."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
import time
from typing import Any, Dict, List, Optional

from .board_error import BoardError
from .call import Call
from .durable import free_bytes
from .environment import described_environment
from .exposure import exposure_of
from .files import Json, names
from .service_user import described_user
from .survey import machine, survey
from .trust import described_trust
from .vitals import has_edge_tpu


def describe(call: Call) -> Dict[str, Any]:
    root = call.board.root
    return {
        "schema": "fleetctl.description/v1",
        "machine": machine(),
        "os": operating_system(),
        "python": list(sys.version_info[:3]),
        "glibc": glibc(),
        "systemd": os.path.isdir("/run/systemd/system"),
        "root": os.geteuid() == 0,
        "edge_tpu": has_edge_tpu(),
        "libedgetpu": shared_libraries("libedgetpu.so"),
        "free_bytes": free_bytes(existing_parent(root)),
        "read_only": bool(os.statvfs(existing_parent(root)).f_flag & os.ST_RDONLY),
        "venv": importlib.util.find_spec("venv") is not None,
        "clock": time.time(),
        "openssl": shutil.which("openssl") is not None,
        "trust": described_trust(call.board),
        "environment": described_environment(call.board),
        "user": described_user(call.request),
        "platform": described_platform(call.request),
        "exposure": described_exposure(call.request),
    }


def described_exposure(request: Json) -> Optional[float]:
    unit = request.get("unit", "")
    if not isinstance(unit, str):
        raise BoardError("bad-request", "unit is not the text of a unit")
    return exposure_of(unit, "fleetctl-serve.service")


def described_platform(request: Json) -> Optional[Dict[str, Any]]:
    """What the interpreter that is to serve could load a model with, if the caller names one."""
    python = request.get("python")
    return survey(python) if isinstance(python, str) and python else None


def operating_system() -> Dict[str, str]:
    """`ID`, `VERSION_ID` and `PRETTY_NAME` of os-release(5), those that are there."""
    found = {}
    try:
        with open("/etc/os-release", encoding="utf-8", errors="replace") as stream:
            for line in stream.read(1 << 16).splitlines():
                key, _, value = line.partition("=")
                if key in ("ID", "VERSION_ID", "PRETTY_NAME"):
                    found[key.lower()] = value.strip("\"'")[:100]
    except OSError:
        pass  # not a Linux of the usual kind: the other words must do
    return found


def glibc() -> List[int]:
    """Version of the C library, which decides what wheels load; empty where it is another one."""
    try:
        words = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return []
    found = re.match(r"glibc (\d+)\.(\d+)", words)
    return [int(found.group(1)), int(found.group(2))] if found else []


def shared_libraries(prefix: str) -> List[str]:
    """File names of a library in the places where Debian keeps libraries."""
    folders = ["/usr/lib", "/usr/local/lib"]
    folders += [os.path.join("/usr/lib", name) for name in names("/usr/lib") if name.endswith("-linux-gnu")]
    folders += [
        os.path.join("/usr/lib", name) for name in names("/usr/lib") if name.endswith("-linux-gnueabihf")
    ]
    return sorted({name for folder in folders for name in names(folder) if name.startswith(prefix)})


def existing_parent(path: str) -> str:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path
