"""The wheels of a module image: what boards need anyway, and Microsoft's SDK for devices."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from fleetctl.bootstrap.wheelhouse import Platform, fetch
from fleetctl.children import environment
from fleetctl.errors import FleetError

SDK = "azure-iot-device>=2.14,<3"
_SOURCES = "paho-mqtt>=1.6.1,<2"  # is published as source alone; the SDK wants this old one
_PATIENCE = 1800.0  # seconds
PYTHON, GLIBC = (3, 11), (2, 36)  # of Debian 12


def module_wheels(machine: str, folder: Path) -> Mapping[str, Path]:
    """Wheels by file name, for Debian 12 on a machine as `uname -m` names it; fetched once.

    Raises:
        FleetError: they cannot be had; pip's last word.
    """
    platform = Platform(machine, PYTHON, GLIBC)
    wheels = dict(fetch(platform, folder))
    place = folder / f"{platform.name}-iothub"
    record = place / "complete"
    if not record.is_file() or record.read_text() != SDK:
        place.mkdir(parents=True, exist_ok=True)
        for old in place.glob("*.whl"):
            old.unlink()
        _pip("wheel", "--no-deps", "--wheel-dir", str(place), _SOURCES)
        _pip(*_download(platform, place))
        record.write_text(SDK)
    wheels.update({path.name: path for path in sorted(place.glob("*.whl"))})
    return {name: path for name, path in sorted(wheels.items()) if not name.startswith("pip-")}


def _download(platform: Platform, place: Path) -> list[str]:
    return [
        *("download", "--only-binary=:all:", "--implementation", "cp", "--dest", str(place)),
        *("--find-links", str(place), "--python-version", ".".join(map(str, platform.python))),
        *(word for tag in [*platform.tags, "any"] for word in ("--platform", tag)),
        SDK,
    ]


def _pip(verb: str, *words: str) -> None:
    argv = [sys.executable, "-m", "pip", verb, "--quiet", "--disable-pip-version-check", *words]
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
        env=environment(),
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise FleetError(
            f"no wheels for a module image: {lines[-1].removeprefix('ERROR: ') if lines else 'pip failed'}",
            hint="let this machine reach a Python package index (pip's own settings apply)",
        )
