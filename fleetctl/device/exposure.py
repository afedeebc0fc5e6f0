"""How exposed the service is, by systemd's own reckoning."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import List, Optional

PATIENCE_S = 60.0  # an emulated board takes five
_OVERALL = re.compile(r"Overall exposure level for \S+: (\d+(?:\.\d+)?)")


def exposure_of(unit: str, name: str) -> Optional[float]:
    """What `systemd-analyze security` says of a unit: 0.0 is the least exposed, 10.0 the most.

    None where it cannot say: no systemd, or one before 250, which only knows units that are installed.
    """
    import tempfile  # slow to import, and no other verb needs it

    if not unit or shutil.which("systemd-analyze") is None:
        return None
    folder = tempfile.mkdtemp()
    try:
        path = os.path.join(folder, os.path.basename(name))
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(unit)
        return _said(["--offline=true", path])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _said(words: List[str]) -> Optional[float]:
    argv = ["systemd-analyze", "security", "--no-pager", *words]
    try:
        told = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE_S,
            env=dict(os.environ, LC_ALL="C"),
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _OVERALL.search(told.stdout.decode("utf-8", "replace"))
    return float(found.group(1)) if found else None
