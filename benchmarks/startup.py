"""How long the command line takes to start, against a bare interpreter: `python -c pass` in the same run."""

import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Result, Way, against, interleave

ROUNDS = 25
MOST = 4.0  # times the bare interpreter
FLEETCTL = str(Path(sysconfig.get_path("scripts")) / "fleetctl")
BARE = "python -c pass"


def measure() -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([FLEETCTL, "init", "."], cwd=folder, check=True, capture_output=True)
        ways = {
            BARE: _command(folder, sys.executable, "-c", "pass"),
            "fleetctl --help": _command(folder, FLEETCTL, "--help"),
            "fleetctl validate": _command(folder, FLEETCTL, "validate"),
        }
        for way in ways.values():
            way()  # once for the bytecode and the disk's cache
        yield from against(interleave(ways, ROUNDS), BARE, {label: MOST for label in ways if label != BARE})


def _command(folder: Path, *argv: str) -> Way:
    def way() -> None:
        subprocess.run(argv, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)

    return way
