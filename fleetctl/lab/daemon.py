"""The process driver: the four things that can be done to a lab, asked of its daemon."""

import getpass
import os
import signal
import sys
import time
from collections.abc import Collection, Iterator

from msgspec.structs import replace

from fleetctl.errors import FleetError, UsageError
from fleetctl.lab import detached, processes
from fleetctl.lab.detached import owner
from fleetctl.lab.keys import ensure_keys, write_known_hosts
from fleetctl.lab.ports import LOOPBACK, free_ports, is_free
from fleetctl.lab.state import LabFiles, LabState, VirtualBoard, Wanted
from fleetctl.lab.up import Say, Up

_START_PATIENCE = 30.0  # seconds, and some more for each board
_PATIENCE_PER_BOARD = 0.5
_POLL = 0.02


def up(files: LabFiles, boards: Collection[Wanted], say: Say) -> Up:
    """Have a virtual board for each of `boards`, beside those there are.

    A lab that was down comes up with all its boards on; in one that runs, boards that are off stay off.

    Raises:
        FleetError: the daemon did not start, or a board could not listen; says why.
    """
    before = LabState.read(files.wanted) or LabState({})
    running = owner(files.daemon) is not None
    added = tuple(board.name for board in boards if board.name not in before.boards)
    if not running:
        say(f"starting {len(before.boards) + len(added)} boards")
    elif not added:
        return Up(status(files) or before, (), was_running=True)
    wanted = _wish(files, before, added, running=running)
    ensure_keys(files, wanted.boards)
    state = _apply(files, wanted)
    return Up(state, added, running)


def down(files: LabFiles, *, keep: bool) -> int:
    """End the daemon and every process of every board. Says how many boards there were."""
    del keep  # what is kept is the folder, which is not ours to remove
    detached.end(files.daemon, "lab")
    homes = [path for path in files.boards.iterdir() if path.is_dir()] if files.boards.is_dir() else []
    processes.kill_all(homes)
    files.state.unlink(missing_ok=True)
    return len(homes)


def switch(files: LabFiles, state: LabState, boards: Collection[str], *, online: bool) -> LabState:
    """Restore (`online`) or cut the power of boards of a running lab."""
    changed = {
        name: replace(board, online=online) if name in boards else board
        for name, board in state.boards.items()
    }
    return _apply(files, replace(state, boards=changed))


def status(files: LabFiles) -> LabState | None:
    """The running lab, or None."""
    return LabState.read(files.state) if owner(files.daemon) is not None else None


def _wish(files: LabFiles, before: LabState, added: Collection[str], *, running: bool) -> LabState:
    """The boards there are and those to add; ports stay, unless somebody took them while the lab was down."""
    taken = {port for board in before.boards.values() for port in (board.port, board.serve_port)}
    ports = free_ports(files.folder, taken)
    boards = dict(before.boards) if running else {n: _revive(b, ports) for n, b in before.boards.items()}
    for name in added:
        boards[name] = _new_board(files, name, ports)
    return replace(before, boards=boards)


def _revive(board: VirtualBoard, ports: Iterator[int]) -> VirtualBoard:
    """The board switched on, with this python and user; on another port if somebody took its own."""
    port = board.port if is_free(board.port) else next(ports)
    return replace(board, port=port, python=sys.executable, user=getpass.getuser(), online=True, error="")


def _new_board(files: LabFiles, name: str, ports: Iterator[int]) -> VirtualBoard:
    if not name or name in (".", "..") or set(name) & {"/", "\0"}:
        raise UsageError(f"{name!r} cannot be a virtual board: its name has to be good as a folder's")
    root = str(files.home(name) / "opt" / "fleetctl")
    return VirtualBoard(LOOPBACK, next(ports), getpass.getuser(), root, sys.executable, next(ports))


def _apply(files: LabFiles, wanted: LabState) -> LabState:
    """Ask the daemon, starting it if need be, and wait until it answers this very wish."""
    generation = max(wanted.generation, _last_generation(files)) + 1
    wanted = replace(wanted, generation=generation, pid=0)
    write_known_hosts(files, wanted)
    wanted.write(files.wanted)
    daemon = owner(files.daemon)
    if daemon is None:
        detached.start("fleetctl.lab.process", str(files.folder), files.log, "lab")
    else:
        os.kill(daemon, signal.SIGHUP)
    state = _wait_for(files, wanted)
    _check_all_listen(state)
    return state


def _last_generation(files: LabFiles) -> int:
    state = LabState.read(files.state)
    return state.generation if state else 0


def _wait_for(files: LabFiles, wanted: LabState) -> LabState:
    give_up = time.monotonic() + _START_PATIENCE + _PATIENCE_PER_BOARD * len(wanted.boards)
    while time.monotonic() < give_up:
        state = LabState.read(files.state)
        if state and state.generation == wanted.generation:
            return state
        if owner(files.daemon) is None:
            raise FleetError(
                f"the lab's daemon has ended: {detached.last_line(files.log)}", hint=f"see {files.log}"
            )
        time.sleep(_POLL)
    raise FleetError(
        "the lab's daemon does not answer", hint=f"see {files.log}, or start over with `fleetctl lab down`"
    )


def _check_all_listen(state: LabState) -> None:
    failed = {name: board.error for name, board in state.boards.items() if board.error}
    for name, why in failed.items():
        raise FleetError(
            f"virtual board {name} did not start: {why}"
            + (f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""),
            hint="free its port, or start over with `fleetctl lab down` and `fleetctl lab up`",
        )
