"""What fleetctl costs, held against named peers in one run on one machine: `python -m benchmarks [NAME ...]`.

A benchmark is a module here whose `measure()` yields a `Result` for each number it states. `BENCHMARKS` says
which there are, in the order they run; a test holds it against the folder. The other modules measure models
and need photos: each is run by itself, and its head says how.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))  # the boards are those of tests

BENCHMARKS = (
    "startup",
    "plan",
    "state_machine",
    "serve",
    "activation",
    "build",
    "ansible_release",
    "reads",
    "wire",
    "iothub_scale",
    "when_a_hub",
)
