"""The wheels of a module image: what boards need anyway, and Microsoft's SDK for devices."""

from collections.abc import Mapping
from pathlib import Path

from fleetctl.bootstrap.wheelhouse import Platform, Run, fetch, kept, run_pip

_SOURCES = "paho-mqtt>=1.6.1,<2"  # is published as source alone; the SDK wants this old one
_SDK = "azure-iot-device>=2.14,<3"
REQUIREMENTS = (_SOURCES, _SDK)
PYTHON, GLIBC = (3, 11), (2, 36)  # of Debian 12
_PURPOSE = "a module image"


def module_wheels(machine: str, folder: Path, run: Run | None = None) -> Mapping[str, Path]:
    """Wheels by file name, for Debian 12 on a machine as `uname -m` names it; fetched once.

    Raises:
        ToolchainMissing: this interpreter has no pip.
        FleetError: they cannot be had, pip's last word; or one that was fetched before is not what it was.
    """
    platform = Platform(machine, PYTHON, GLIBC)
    wheels = {
        **fetch(platform, folder, run),
        **kept(place_of(platform, folder), REQUIREMENTS, lambda place: _download(platform, place, run)),
    }
    return {name: path for name, path in sorted(wheels.items()) if not name.startswith("pip-")}


def place_of(platform: Platform, folder: Path) -> Path:
    """Where the wheels are that only module images need."""
    return folder / f"{platform.name}-iothub"


def _download(platform: Platform, place: Path, run: Run | None) -> None:
    run_pip(("wheel", "--no-deps", "--wheel-dir", str(place), _SOURCES), _PURPOSE, run=run)
    words = [
        *("download", "--only-binary=:all:", "--implementation", "cp", "--dest", str(place)),
        *("--find-links", str(place), "--python-version", ".".join(map(str, platform.python))),
        *(word for tag in [*platform.tags, "any"] for word in ("--platform", tag)),
        _SDK,
    ]
    run_pip(words, _PURPOSE, run=run)
