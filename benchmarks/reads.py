"""Asking boards, and finding nothing to do: whole command lines against plain `ssh` commands in parallel.

The boards are those of the process lab, whose own work is on the same processors. Each runs a model that it
proved. `rollout` and `status` read what is on disk, hash every file of the release and ask the serving
process; their peers log in and do nothing, or read one file.
"""

import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from msgspec.structs import replace
from quadrant_fleet import QuadrantFleet

from benchmarks.harness import Result, against, demand_memory, interleave, part
from fleetctl.lab import overlay
from fleetctl.manifest.loader import load
from fleetctl.manifest.schema import Board
from fleetctl.project import Project
from fleetctl.transports.ssh import SshReader

FEW, ALL, MOST = 20, 200, 500
ROUNDS = 3
WITHIN = 30.0  # seconds in which so many boards are found to have nothing to do
EACH_MB = 24  # of memory that a board takes: its service, and the Python that looks
AT_ONCE = 64  # plain ssh commands; more of them only wait for a processor
TRUE, RECEIPT = "parallel `ssh true`", "parallel `ssh cat receipt`"
PATIENCE = 3.0  # seconds that a silent board is waited for


def measure() -> Iterator[Result]:
    with tempfile.TemporaryDirectory(prefix="fleetctl-bench-") as folder:
        fleet = fleet_of(Path(folder) / "fleet")
        try:
            converge(fleet, "board-*")
            yield from _measured(fleet)
            yield from part(f"{MOST} boards, nothing to do, rollout", lambda: _most(fleet))
        finally:
            fleet.run("lab", "down", patience=300)


def fleet_of(root: Path) -> QuadrantFleet:
    """A fleet whose boards are `board-*` and, up to the most, `further-*`."""
    fleet = QuadrantFleet.make(root)
    names = [f"{'board' if number < ALL else 'further'}-{number:03d}" for number in range(MOST)]
    boards = "".join(f"  {name}: {{host: {name}.invalid, labels: {{site: luxor}}}}\n" for name in names)
    fleet.edit("rollout:\n", boards + "rollout:\n")
    fleet.edit("confirm_timeout: 30s", "confirm_timeout: 120s")
    fleet.edit("max_p95_ms: {raspberrypi4: 2000}", "max_p95_ms: {}")
    return fleet


def converge(fleet: QuadrantFleet, selection: str) -> None:
    """Have virtual boards that run what git says, and proved it."""
    for words in (("lab", "up"), ("rollout", "--yes")):
        done = fleet.run(*words, "--on", selection, patience=1800)
        if done.status:
            raise RuntimeError(f"{words}: {done.err[-500:]}")


def _measured(fleet: QuadrantFleet) -> Iterator[Result]:
    project, boards = _boards(fleet, "board-")
    few = ",".join(board.name for board in boards[:FEW])
    ways = {
        TRUE: lambda: _in_parallel(project, boards[:FEW], "true"),
        "rollout": lambda: _run(fleet, "rollout", "--yes", "--on", few),
    }
    label = f"{FEW} boards, nothing to do, "
    yield from against(interleave(ways, ROUNDS), TRUE, {"rollout": 1.2}, label=label)
    ways = {
        RECEIPT: lambda: _in_parallel(project, boards, "cat {root}/state/receipt.json"),
        "status": lambda: _run(fleet, "status", "--on", "board-*"),
        "rollout with nothing to do": lambda: _run(fleet, "rollout", "--yes", "--on", "board-*"),
    }
    goals = {"status": 1.5, "rollout with nothing to do": None}
    yield from against(interleave(ways, ROUNDS), RECEIPT, goals, label=f"{ALL} boards, ")
    yield from _with_a_silent_board(project, boards[:FEW])


def _most(fleet: QuadrantFleet) -> Iterator[Result]:
    demand_memory(f"{MOST} boards", MOST * EACH_MB)
    converge(fleet, "further-*")
    project, boards = _boards(fleet, ("board-", "further-"))
    every = "board-*,further-*"
    ways = {
        TRUE: lambda: _in_parallel(project, boards, "true"),
        "rollout": lambda: _run(fleet, "rollout", "--yes", "--on", every),
    }
    taken = interleave(ways, 2)  # boards that have just had their release keep what the first time finds
    label = f"{len(boards)} boards, nothing to do, "
    yield Result(label + TRUE, round(statistics.median(taken[TRUE]), 1), "s")
    first, again = taken["rollout"]
    yield Result(label + "rollout, the first since their release", round(first, 1), "s", goal=WITHIN)
    yield Result(label + "rollout, again", round(again, 1), "s", goal=WITHIN)


def _boards(fleet: QuadrantFleet, prefix: str | tuple[str, ...]) -> tuple[Project, list[Board]]:
    """The virtual boards of those whose name begins so."""
    project = Project(fleet.root / "inventory" / "fleet.yaml")
    declared = load(project.manifest)
    names = [name for name in declared.boards if name.startswith(prefix)]
    twins = overlay.overlay(declared, project, names).boards
    return project, [twins[name] for name in names]


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


def _in_parallel(project: Project, boards: Sequence[Board], command: str) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda board: _ssh(project, board, command.format(root=board.root)), boards))


def _ssh(project: Project, board: Board, command: str) -> None:
    argv = ["ssh", "-F", "/dev/null", "-i", str(overlay.identity(project)), "-p", str(board.port)]
    argv += ["-o", f"UserKnownHostsFile={overlay.known_hosts(project)}", "-o", "BatchMode=yes"]
    subprocess.run([*argv, f"{board.user}@{board.host}", command], check=True, capture_output=True)
