"""How long the command line takes to start, against a bare interpreter: `python -c pass` in the same run.

Prints the ratio of medians for the light verbs and writes `benchmarks/startup.json`.
"""

import json
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

ROUNDS = 15
FLEETCTL = str(Path(sysconfig.get_path("scripts")) / "fleetctl")


def seconds(command: list[str], folder: Path) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([FLEETCTL, "init", "."], cwd=folder, check=True, capture_output=True)
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "fleetctl --help": [FLEETCTL, "--help"],
            "fleetctl validate": [FLEETCTL, "validate"],
        }
        # Interleaved, so that a slow moment of the machine falls on every command alike.
        measured: dict[str, list[float]] = {label: [] for label in commands}
        for _ in range(ROUNDS):
            for label, command in commands.items():
                measured[label].append(seconds(command, folder))
    bare = statistics.median(measured["python -c pass"])
    result = {
        label: {"median_ms": round(1000 * median, 1), "ratio": round(median / bare, 2)}
        for label, median in ((label, statistics.median(times)) for label, times in measured.items())
    }
    for label, row in result.items():
        print(f"{label:24} {row['median_ms']:8.1f} ms  {row['ratio']:5.2f}x")
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
