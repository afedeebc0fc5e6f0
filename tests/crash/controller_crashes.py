"""The whole command line, killed: `fleetctl rollout` with Ansible and ssh below, at work on many boards."""

import contextlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from board_crashes import Case, CrashLab

_DEFAULTS = "defaults: {model: quadrants, board: raspberrypi4"
_ROLLOUT = ("rollout", "--yes", "--adopt")  # what other tests brought to these boards is in no commit
_DEADLINE = 600.0


def order_from_git(lab: CrashLab, threshold: float) -> None:
    """Have git ask for a release that no board has."""
    manifest = lab.fleet.root / "inventory" / "fleet.yaml"
    (line,) = [line for line in manifest.read_text().splitlines() if line.startswith(_DEFAULTS)]
    lab.fleet.edit(line, f"{_DEFAULTS}, config: {{threshold: {threshold:.6f}}}}}")


def usual_seconds(lab: CrashLab, threshold: float) -> float:
    """How long a rollout to every board takes that nothing happens to."""
    order_from_git(lab, threshold)
    begun = time.monotonic()
    done = lab.fleet.run(*_ROLLOUT, patience=_DEADLINE)
    assert done.status == 0, done.err
    return time.monotonic() - begun


def kill_controller(lab: CrashLab, threshold: float, after: float, *, alone: bool) -> list[Case]:
    """Kill a rollout so many seconds after its start, with all that it started unless `alone`.

    Every board is a case: each was at a point of its own.
    """
    before = {name: lab.current(name) for name in lab.names}
    order_from_git(lab, threshold)
    rollout = lab.fleet.start(*_ROLLOUT)
    time.sleep(after)
    doomed = [rollout.pid] if alone else [rollout.pid, *_descendants(rollout.pid)]
    for pid in doomed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    since = time.monotonic()
    with ThreadPoolExecutor(len(lab.names)) as pool:
        seen = dict(zip(lab.names, pool.map(lambda name: _settled(lab, name, since), lab.names), strict=True))
    rollout.communicate()
    again = lab.fleet.run(*_ROLLOUT, patience=_DEADLINE)
    return [_case(lab, name, before[name], *seen[name], again.err if again.status else "") for name in seen]


def _settled(lab: CrashLab, name: str, since: float) -> tuple[float, list[str], str]:
    seen = lab.look(name)
    return time.monotonic() - since, seen["wrong"], seen["current"]


def _case(
    lab: CrashLab, name: str, before: str, seconds: float, wrong: list[str], served: str, failed: str
) -> Case:
    after = lab.look(name, patience=10)
    found = [*wrong, *after["wrong"], *(f"left over: {thing}" for thing in after["left over"])]
    if failed:
        found.append(f"run again: {failed}")
    if served not in (before, after["current"]):
        found.append(f"it served {served}, which nobody ordered")
    return Case("command line killed, at a random instant", name, seconds, tuple(found))


def _descendants(pid: int) -> list[int]:
    """All that a process started, and what those started."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            number, _, rest = stat.read_text().partition(" (")
            parents[int(number)] = int(rest.rpartition(")")[2].split()[1])
    found, generation = [], [pid]
    while generation:
        generation = [child for child, parent in parents.items() if parent in generation]
        found += generation
    return found
