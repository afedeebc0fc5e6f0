"""What a person can do to the lab: bring it up, take it down, cut and restore a board's power.

What boards are made of is a driver's business; a lab has one driver from `up` to `down`.
"""

import contextlib
import shlex
import shutil
from collections.abc import Collection, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from fleetctl.errors import FleetError, ToolchainMissing, UsageError
from fleetctl.lab import detached
from fleetctl.lab.iothub.files import HubFiles, RunningHub, WantedHub
from fleetctl.lab.state import LabFiles, LabState, VirtualBoard, Wanted
from fleetctl.lab.up import Say, Up
from fleetctl.store import Lock, naming


class Driver(StrEnum):
    """What virtual boards are made of."""

    PROCESS = "process"  # ssh servers on loopback whose commands run as the current user
    DOCKER = "docker"  # containers with systemd, on this processor or an emulated one


class _Actions(Protocol):
    def up(self, files: LabFiles, boards: Collection[Wanted], say: Say) -> Up: ...

    def down(self, files: LabFiles, *, keep: bool) -> int: ...

    def switch(
        self, files: LabFiles, state: LabState, boards: Collection[str], *, online: bool
    ) -> LabState: ...

    def status(self, files: LabFiles) -> LabState | None: ...


def up(
    files: LabFiles, boards: Collection[Wanted], driver: Driver = Driver.PROCESS, say: Say = lambda _: None
) -> Up:
    """Have a virtual board for each of `boards`, beside those there are; those that were off come on.

    Raises:
        UsageError: there is a lab of another driver.
        FleetError: a board did not come up; says why.
    """
    with _alone(files, "lab up"):
        present = _driver(files)
        if present not in (None, driver):
            raise UsageError(
                f"there is a lab of driver {present}", hint="remove it first, with `fleetctl lab down`"
            )
        return _actions(driver).up(files, boards, say)


def down(files: LabFiles, *, keep: bool) -> int:
    """End every process of every board; forget the boards unless `keep`. Says how many there were."""
    if not files.folder.is_dir():
        return 0  # and no lock is left in a folder that has nothing of ours
    with _alone(files, "lab down"):
        ended = _end(files, keep=keep) + _down_edge(files, keep=keep)
        down_hub(files)
        if not keep and files.folder.is_dir():
            shutil.rmtree(files.folder)
        return ended


def up_hub(files: LabFiles, wanted: WantedHub) -> tuple[RunningHub, bool]:
    """Have an IoT Hub beside the boards; says whether it was running already.

    Raises:
        FleetError: it did not come up; says why.
    """
    from fleetctl.lab.iothub import control

    with _alone(files, "lab up"):
        return control.up(HubFiles.of(files), wanted)


def up_edge(files: LabFiles, names: Collection[str]) -> list[str]:
    """Have boards of the hub, which has to be up; says which are new.

    Raises:
        FleetError: one does not come up; says why.
    """
    from fleetctl.lab.iothub import edge_boards

    with _alone(files, "lab up"):
        return edge_boards.up(HubFiles.of(files), names)


def edge(files: LabFiles) -> Mapping[str, bool]:
    """The boards of the hub, and whether each has power."""
    from fleetctl.lab.iothub import edge_boards

    return edge_boards.read(HubFiles.of(files))


def _down_edge(files: LabFiles, *, keep: bool) -> int:
    hub = HubFiles.of(files)
    if not hub.boards.exists():
        return 0
    from fleetctl.lab.iothub import edge_boards

    return edge_boards.down(hub, keep=keep)


def down_hub(files: LabFiles) -> bool:
    """End the hub, if there is one; says whether there was."""
    hub = HubFiles.of(files)
    was_running = detached.owner(hub.daemon) is not None
    detached.end(hub.daemon, "hub")
    hub.record.unlink(missing_ok=True)
    return was_running


def switch(files: LabFiles, boards: Collection[str], *, online: bool) -> None:
    """Restore (`online`) or cut the power of boards of a running lab."""
    if not files.folder.is_dir():
        require(files)
    with _alone(files, "lab start" if online else "lab stop"):
        over_hub = [name for name in boards if name in edge(files)]
        if others := [name for name in boards if name not in over_hub]:
            state = require(files)
            for name in others:
                member(state, name)
            _actions(Driver(state.driver)).switch(files, state, others, online=online)
        if over_hub:
            from fleetctl.lab.iothub import edge_boards

            edge_boards.switch(HubFiles.of(files), over_hub, online=online)


def status(files: LabFiles) -> LabState | None:
    """The running lab, or None."""
    driver = _driver(files)
    return _actions(driver).status(files) if driver else None


def require(files: LabFiles) -> LabState:
    """The running lab.

    Raises:
        UsageError: it is not up.
    """
    state = status(files)
    if state is None:
        raise UsageError("the lab is not up", hint="start it with `fleetctl lab up`")
    return state


def member(state: LabState, name: str) -> VirtualBoard:
    """The virtual board of that name.

    Raises:
        UsageError: the lab has none.
    """
    try:
        return state.boards[name]
    except KeyError:
        raise UsageError(f"the lab has no board {name}", hint="add it with `fleetctl lab up`") from None


def ssh_command(files: LabFiles, board: VirtualBoard) -> str:
    """The line with which a person logs in to a virtual board."""
    options = {
        "IdentityFile": _ssh_path(files.identity),
        "UserKnownHostsFile": _ssh_path(files.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "IdentitiesOnly": "yes",
        "StrictHostKeyChecking": "yes",
    }
    argv = ["ssh", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
    return shlex.join([*argv, "-p", str(board.port), f"{board.user}@{board.host}"])


def _ssh_path(path: Path) -> str:
    """A path as ssh's options take it: percent signs are tokens there, and spaces divide."""
    text = str(path).replace("%", "%%")
    return f'"{text}"' if " " in text else text


def _driver(files: LabFiles) -> Driver | None:
    """The driver of the lab there is, up or kept; None where there is none."""
    recorded = LabState.read(files.wanted) or LabState.read(files.state)
    return Driver(recorded.driver) if recorded else None


def _end(files: LabFiles, *, keep: bool) -> int:
    """End what the lab's driver made; where its record cannot be read, what any driver may have made."""
    try:
        found = _driver(files)
    except FleetError:
        ended = _actions(Driver.PROCESS).down(files, keep=keep)
        with contextlib.suppress(ToolchainMissing):  # without an engine nothing of it runs
            ended += _actions(Driver.DOCKER).down(files, keep=keep)
        return ended
    # A lab whose record is gone may still have its daemon.
    return _actions(found or Driver.PROCESS).down(files, keep=keep)


def _actions(driver: Driver) -> _Actions:
    # Not at the top: nobody who has no docker lab should pay for its SDK.
    match driver:
        case Driver.DOCKER:
            from fleetctl.lab.docker import driver as docker

            return docker
        case Driver.PROCESS:
            from fleetctl.lab import daemon

            return daemon


@contextlib.contextmanager
def _alone(files: LabFiles, purpose: str) -> Iterator[None]:
    """One change of the lab at a time; the lock lies beside the lab's folder, which a change may remove."""
    with Lock(files.folder.with_name("lab.lock"), f"`fleetctl {purpose}`"):
        with naming(files.folder):
            files.folder.mkdir(mode=0o700, exist_ok=True)
        yield
