"""The wheels that a board's interpreter needs, fetched here: boards may have no internet.

pip chooses them, as it would on the board: it is told the board's Python, processor and C library.
"""

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from fleetctl.children import environment
from fleetctl.errors import FleetError, ToolchainMissing
from fleetctl.store import sha256_file

_OLDEST_GLIBC = 17  # manylinux_2_17, which is manylinux2014
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_PATIENCE = 1800.0  # seconds


class Platform(Struct, frozen=True):
    """What decides which wheels load: `machine` as `uname -m` says it, Python and glibc as (major, minor)."""

    machine: str
    python: tuple[int, int]
    glibc: tuple[int, int]

    @property
    def name(self) -> str:
        """Good as a folder's name: `aarch64-cp311-glibc2.36`."""
        return f"{self.machine}-cp{self.python[0]}{self.python[1]}-glibc{self.glibc[0]}.{self.glibc[1]}"

    @property
    def tags(self) -> list[str]:
        """Platform tags, newest first (PEP 600; PEP 425 has the older names)."""
        newest = self.glibc[1] if self.glibc[0] == 2 else _OLDEST_GLIBC
        tags = []
        for minor in range(newest, 4, -1):
            tags.append(f"manylinux_2_{minor}_{self.machine}")
            if minor in _LEGACY:
                tags.append(f"{_LEGACY[minor]}_{self.machine}")
        return [*tags, f"linux_{self.machine}"]


class Packages(Struct, frozen=True):
    """What an environment is made of, and the Python statement that shows that it works."""

    requirements: tuple[str, ...]
    proof: str


def packages_for(platform: Platform) -> Packages:
    """The TFLite runtime that exists for a board's Python, with the numpy that it was built against.

    tflite-runtime ends at Python 3.11 and needs numpy 1; after it comes ai-edge-litert (from the files on the
    Python index, 2026).
    """
    if platform.python <= (3, 11):
        return Packages(
            ("pip", "numpy<2", "tflite-runtime>=2.7,<2.15"), "import numpy, tflite_runtime.interpreter"
        )
    return Packages(("pip", "numpy<3", "ai-edge-litert>=2"), "import numpy, ai_edge_litert.interpreter")


Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


def fetch(platform: Platform, folder: Path, run: Run | None = None) -> Mapping[str, Path]:
    """Wheels for a platform, by file name, in a folder of their own under `folder`; fetched once.

    ai-edge-litert brings dependencies that only its converter needs; they are left out, as the proof shows.

    Raises:
        ToolchainMissing: this interpreter has no pip.
        FleetError: no wheels exist for the platform, or the index cannot be reached; pip's last word.
    """
    packages = packages_for(platform)
    place = folder / platform.name
    record = place / "complete"
    wanted = "\n".join(packages.requirements)
    if not record.is_file() or record.read_text() != wanted:
        place.mkdir(parents=True, exist_ok=True)
        _download(platform, packages, place, run or _run)
        record.write_text(wanted)
    return {path.name: path for path in sorted(place.glob("*.whl"))}


def request_of(wheels: Mapping[str, Path]) -> dict[str, list[str | int]]:
    """Wheels as the board verb `prepare` takes them: file name to sha256 and size."""
    return {name: [sha256_file(path), path.stat().st_size] for name, path in wheels.items()}


def _download(platform: Platform, packages: Packages, place: Path, run: Run) -> None:
    for old in place.glob("*.whl"):
        old.unlink()
    argv = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
        *("--only-binary=:all:", "--implementation", "cp", "--dest", str(place)),
        *("--python-version", ".".join(map(str, platform.python))),
        *(word for tag in platform.tags for word in ("--platform", tag)),
        *packages.requirements,
    ]
    done = run(argv)
    if "No module named pip" in done.stderr:
        raise ToolchainMissing(
            "wheels for boards are fetched with pip, which this Python does not have",
            hint=f"install it: `{sys.executable} -m ensurepip`",
        )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise FleetError(
            f"no wheels for {platform.name}: {lines[-1].removeprefix('ERROR: ') if lines else 'pip failed'}",
            hint="let this machine reach a Python package index (pip's own settings apply)",
        )


def _run(argv: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
        env=environment(),
    )
