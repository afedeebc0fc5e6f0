"""A service that no service manager keeps, and that will not end."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetctl.device import process_service
from fleetctl.device.board_error import BoardError
from fleetctl.device.layout import Board
from fleetctl.device.process_service import ProcessService


@pytest.fixture
def stuck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessService]:
    """A service that waits in the kernel for a device, where no signal reaches it."""
    board = Board(str(tmp_path))
    board.make_folders()
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 20\n")
    python.chmod(0o755)
    service = ProcessService(board, {"python": str(python)})
    service.start("0" * 64)
    pid = service.pid
    assert pid is not None
    monkeypatch.setattr(process_service, "signal_process", lambda *_: None)
    monkeypatch.setattr(process_service, "STOP_PATIENCE_S", 0.2)
    yield service
    os.kill(pid, signal.SIGKILL)
    service.stop()


def test_a_service_that_cannot_be_ended_is_not_waited_for(stuck: ProcessService) -> None:
    """Whoever waited for it would hold the board's lock for ever: nobody could even ask what is wrong."""
    with pytest.raises(BoardError, match="another service holds"):
        stuck.start("1" * 64)
