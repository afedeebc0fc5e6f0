"""How long the command line takes to start, against a bare interpreter: `python -c pass` in the same run.

The fleet has ten boards, which are simulated: `plan` renders their releases and finds that each would change.
"""

import itertools
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Result, Way, after, against, interleave
from benchmarks.plan import built_fleet, text

ROUNDS = 25
MOST = 4.0  # times the bare interpreter
FLEETCTL = str(Path(sysconfig.get_path("scripts")) / "fleetctl")
BARE = "python -c pass"


def measure() -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = built_fleet(folder)
        manifest.write_text(text(10))
        numbers = itertools.count()

        def change() -> None:
            manifest.write_text(f"{text(10)}# {next(numbers)}\n")

        ways = {
            BARE: _command(folder, sys.executable, "-c", "pass"),
            "fleetctl --help": _command(folder, FLEETCTL, "--help"),
            "fleetctl validate, unchanged": _command(folder, FLEETCTL, "validate"),
            "fleetctl validate, changed": after(change, _command(folder, FLEETCTL, "validate")),
            "fleetctl plan": _command(folder, FLEETCTL, "plan"),
        }
        for way in reversed(ways.values()):
            way()  # once for the bytecode and the disk's cache
        yield from against(interleave(ways, ROUNDS), BARE, {label: MOST for label in ways if label != BARE})


def _command(folder: Path, *argv: str) -> Way:
    others = ("CI", "COLUMNS", "PYTHONDONTWRITEBYTECODE")  # a fleetctl that is installed has its bytecode
    environment = {name: value for name, value in os.environ.items() if name not in others}

    def way() -> None:
        done = subprocess.run(
            argv,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
            env={**environment, "FLEETCTL_TRANSPORT": "fake"},
        )
        assert done.returncode == (argv[-1] == "plan"), done.stderr  # every board would change: 1

    return way
