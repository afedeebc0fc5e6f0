"""Which service manager a release asks for."""

from __future__ import annotations

from typing import Union

from .board_error import BoardError
from .layout import Board
from .process_service import ProcessService
from .systemd_service import SystemdService

Service = Union[ProcessService, SystemdService]


def service_of(board: Board, digest: str, unit_folder: str) -> Service:
    """The service manager that a release asks for."""
    config = board.config(digest, "config/service.json")
    manager = config.get("manager")
    if manager == "systemd":
        return SystemdService(board, config, unit_folder)
    if manager == "process":
        return ProcessService(board, config)
    raise BoardError(
        "bad-release", "config/service.json names no service manager we know: %.80r" % (manager,)
    )
