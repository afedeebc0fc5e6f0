"""The fleet with its boards exchanged for their virtual twins: what `--transport lab` works on."""

from collections.abc import Collection
from pathlib import Path

from msgspec.structs import replace

from fleetctl.lab.control import member, require
from fleetctl.lab.state import LabFiles, LabState, VirtualBoard
from fleetctl.manifest.schema import Board, Fleet, ServiceManager, Via
from fleetctl.project import Project

# RFC 2606: never resolves. A board left out of the lab must not be reached under its real address.
_NOWHERE = "not-in-the-lab.invalid"


def overlay(fleet: Fleet, project: Project, boards: Collection[str] | None = None) -> Fleet:
    """The fleet, with every board's connection settings those of its virtual twin.

    Each of `boards` (default: all) has to be in the lab; others may be missing, and are then out of reach.

    Raises:
        UsageError: the lab is not up, or one of `boards` is not in it.
    """
    state = require(LabFiles.of(project))
    for name in fleet.boards if boards is None else boards:
        member(state, name)
    return replace(fleet, boards={name: _twin(board, state) for name, board in fleet.boards.items()})


def identity(project: Project) -> Path:
    """The private key that virtual boards let in."""
    return LabFiles.of(project).identity


def known_hosts(project: Project) -> Path:
    """The virtual boards' host keys."""
    return LabFiles.of(project).known_hosts


def _twin(board: Board, state: LabState) -> Board:
    virtual = state.boards.get(board.name)
    if virtual is None:
        return replace(board, host=_NOWHERE, via=Via.ANSIBLE)
    return reached_as(board, virtual)


def reached_as(board: Board, virtual: VirtualBoard) -> Board:
    """`board` with the connection settings of its virtual twin."""
    return replace(
        board,
        via=Via.ANSIBLE,
        host=virtual.host,
        port=virtual.port,
        user=virtual.user,
        become=virtual.become,
        python=virtual.python,
        root=virtual.root,
        service=ServiceManager(virtual.service),
        serve_port=virtual.serve_port,
    )
