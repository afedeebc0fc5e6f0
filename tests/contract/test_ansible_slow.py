"""Boards that are slow, and hosts that are gone: the one is waited for, the other costs nobody's time."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract_worlds import LabWorld
from msgspec.structs import replace

from fleetctl.lab import control
from fleetctl.manifest.schema import Board
from fleetctl.transports.base import ReplyStatus

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),  # the lab's daemon
]

SUDO_TAKES = 14.0  # seconds; Ansible's own default gives up at twelve
GONE_AFTER = 30.0  # seconds; ten of them wait for the host, the others are for a busy machine


@pytest.fixture
def others_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LabWorld]:
    """A lab whose boards let in somebody who is not root, whoever runs the tests: root needs no sudo."""
    monkeypatch.setenv("LOGNAME", "pi")
    world = LabWorld(tmp_path)
    yield world
    control.down(world.files, keep=False)


def with_slow_sudo(board: Board) -> Board:
    """The board, with a `sudo` that takes its time before it runs what it is told to."""
    sudo = Path(board.root).parents[1] / "bin" / "sudo"
    sudo.parent.mkdir(parents=True, exist_ok=True)
    # Called as `sudo -H -S -n -u root COMMAND`.
    sudo.write_text(
        f'#!/bin/sh\nsleep {SUDO_TAKES:g}\nwhile [ "$1" != root ]; do shift; done\nshift\nexec "$@"\n'
    )
    sudo.chmod(0o755)
    return replace(board, become=True)


def test_a_busy_board_is_waited_for_and_an_absent_one_is_not(others_lab: LabWorld) -> None:
    """A board whose sudo is slow answers in the end; a host that never speaks is offline before that."""
    busy, other = others_lab.boards(2)
    took, replies = {}, {}
    with socket.create_server(("127.0.0.1", 0)) as mute:
        boards = [with_slow_sudo(busy), replace(other, port=mute.getsockname()[1])]
        begun = time.monotonic()
        for reply in others_lab.transport.confirm(
            boards, {board.name: "0" * 64 for board in boards}, deadline=120.0
        ):
            took[reply.board], replies[reply.board] = time.monotonic() - begun, reply

    assert "is not waiting to be confirmed" in replies[busy.name].error  # the board's own words
    assert took[busy.name] > SUDO_TAKES
    assert replies[other.name].status is ReplyStatus.UNREACHABLE
    assert took[other.name] < GONE_AFTER
