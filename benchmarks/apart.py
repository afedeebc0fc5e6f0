"""Each benchmark in a process of its own: what one leaves in memory, or dies of, is not another's business.

`python -m benchmarks.apart NAME FILE` is that process; it adds each result to the file as it has it.
"""

import importlib
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.harness import BROKE, Result, run

PATIENCE = 1800.0  # seconds that a benchmark may take
LAST_WORDS = 120.0  # seconds to take its boards down, once it was told to end


def measured(name: str) -> list[Result]:
    """All that a benchmark states, up to where it broke."""
    with tempfile.TemporaryDirectory(prefix="fleetctl-bench-") as folder:
        file = Path(folder) / "results"
        missing = ended([sys.executable, "-m", "benchmarks.apart", name, str(file)])
        found = list(told(file))
    return [*found, Result(name, None, "", missing=missing)] if missing else found


def ended(argv: Sequence[str], patience: float = PATIENCE) -> str:
    """Run a benchmark to its end; says what went wrong, if anything did."""
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=2) as child:
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            child.terminate()
            _wait_or_kill(child)
            return f"{BROKE}: it did not end within {patience / 60:g} minutes"
        except BaseException:
            _wait_or_kill(child)  # it heard the same Ctrl-C
            raise
    if child.returncode:
        how = f"signal {-child.returncode}" if child.returncode < 0 else f"exit status {child.returncode}"
        return f"{BROKE}: its process ended with {how}"
    return ""


def _wait_or_kill(child: "subprocess.Popen[bytes]") -> None:
    try:
        child.wait(LAST_WORDS)
    except subprocess.TimeoutExpired:
        child.kill()


def told(file: Path) -> Iterator[Result]:
    """The results in such a file; a line that was cut off is none."""
    lines = file.read_text("utf-8").splitlines(keepends=True) if file.exists() else []
    for line in lines:
        if line.endswith("\n"):
            yield Result(**json.loads(line))


def tell(name: str, file: Path) -> None:
    """Measure, and add each result to the file at once."""
    measure = importlib.import_module(f"benchmarks.{name}").measure
    with file.open("a", encoding="utf-8") as stream:
        for result in run(name, measure):
            print(json.dumps(result.to_json()), file=stream, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it takes its boards down
    tell(sys.argv[1], Path(sys.argv[2]))
