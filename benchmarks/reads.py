"""Asking boards, and finding nothing to do: whole command lines against plain `ssh` commands in parallel.

The boards are those of the process lab, whose own work is on the same processors. Each runs a model that it
proved. `rollout` and `status` read what is on disk, hash every file of the release and ask the serving
process; their peers log in and do nothing, or read one file.
"""

import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from quadrant_fleet import QuadrantFleet

from benchmarks.harness import Result, against, interleave
from fleetctl.lab import overlay
from fleetctl.manifest.loader import load
from fleetctl.manifest.schema import Board
from fleetctl.project import Project
from fleetctl.transports.ssh import SshReader

FEW, ALL = 20, 200
ROUNDS = 3
AT_ONCE = 64  # plain ssh commands; more of them only wait for a processor
PATIENCE = 3.0  # seconds that a silent board is waited for


def measure() -> Iterator[Result]:
    with tempfile.TemporaryDirectory(prefix="fleetctl-bench-") as folder:
        fleet = fleet_of(Path(folder) / "fleet", ALL)
        try:
            yield from _measured(fleet)
        finally:
            fleet.run("lab", "down", patience=300)


def fleet_of(root: Path, count: int) -> QuadrantFleet:
    """A fleet of the process lab, converged."""
    fleet = QuadrantFleet.make(root)
    names = [f"board-{number:03d}" for number in range(count)]
    boards = "".join(f"  {name}: {{host: {name}.invalid, labels: {{site: luxor}}}}\n" for name in names)
    fleet.edit("rollout:\n", boards + "rollout:\n")
    fleet.edit("confirm_timeout: 8s", "confirm_timeout: 120s")
    fleet.edit("max_p95_ms: {raspberrypi4: 2000}", "max_p95_ms: {}")
    for words in (("lab", "up"), ("rollout", "--yes")):
        done = fleet.run(*words, "--on", "board-*", patience=1800)
        if done.status:
            raise RuntimeError(f"{words}: {done.err[-500:]}")
    return fleet


def _measured(fleet: QuadrantFleet) -> Iterator[Result]:
    project = Project(fleet.root / "inventory" / "fleet.yaml")
    names = [name for name in load(project.manifest).boards if name.startswith("board-")]
    twins = overlay.overlay(load(project.manifest), project, names).boards
    boards = [twins[name] for name in names]
    few = ",".join(names[:FEW])
    ways = {
        "parallel `ssh true`": lambda: _in_parallel(project, boards[:FEW], "true"),
        "rollout": lambda: _run(fleet, "rollout", "--yes", "--on", few),
    }
    samples = interleave(ways, ROUNDS)
    yield from against(
        samples, "parallel `ssh true`", {"rollout": 1.2}, label=f"{FEW} boards, nothing to do, "
    )
    ways = {
        "parallel `ssh cat receipt`": lambda: _in_parallel(project, boards, "cat {root}/state/receipt.json"),
        "status": lambda: _run(fleet, "status", "--on", "board-*"),
    }
    samples = interleave(ways, ROUNDS)
    yield from against(samples, "parallel `ssh cat receipt`", {"status": 1.5}, label=f"{ALL} boards, ")
    seconds = _seconds(lambda: _run(fleet, "rollout", "--yes", "--on", "board-*"))
    yield Result(f"{ALL} boards, nothing to do, rollout", round(seconds, 1), "s")
    yield from _with_a_silent_board(project, boards[:FEW])


def _with_a_silent_board(project: Project, boards: Sequence[Board]) -> Iterator[Result]:
    """When the others have answered, and when all is over, beside a host that is there and mute."""
    reader = SshReader(overlay.known_hosts(project), overlay.identity(project))
    with socket.create_server(("127.0.0.1", 0)) as mute:
        silent = replace(boards[0], name="silent", port=mute.getsockname()[1])
        begun = time.perf_counter()
        came = [
            (reply.board, time.perf_counter() - begun)
            for reply in reader.observe([silent, *boards], deadline=PATIENCE)
        ]
    others = max(seconds for name, seconds in came if name != "silent")
    yield Result(f"{len(boards)} boards beside a silent one, the others answered", round(others, 2), "s")
    yield Result(
        f"a silent board is given up after its {PATIENCE:g} s",
        round(came[-1][1], 2),
        "s",
        goal=PATIENCE + 0.5,
    )


def _run(fleet: QuadrantFleet, *words: str) -> None:
    done = fleet.run(*words, patience=600)
    if done.status:
        raise RuntimeError(f"{words}: {done.out[-500:]} {done.err[-500:]}")


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _in_parallel(project: Project, boards: Sequence[Board], command: str) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda board: _ssh(project, board, command.format(root=board.root)), boards))


def _ssh(project: Project, board: Board, command: str) -> None:
    argv = ["ssh", "-F", "/dev/null", "-i", str(overlay.identity(project)), "-p", str(board.port)]
    argv += ["-o", f"UserKnownHostsFile={overlay.known_hosts(project)}", "-o", "BatchMode=yes"]
    subprocess.run([*argv, f"{board.user}@{board.host}", command], check=True, capture_output=True)
