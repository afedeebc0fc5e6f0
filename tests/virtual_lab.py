"""A running lab as tests use it."""

import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from fleetctl.lab import control
from fleetctl.lab.control import Up
from fleetctl.lab.state import LabFiles, VirtualBoard
from fleetctl.manifest.schema import Board, BoardKind, ServiceManager, VariantName
from fleetctl.transports.ssh import SshReader


@dataclass(frozen=True)
class Lab:
    """A running lab of a test's own."""

    files: LabFiles

    def up(self, *names: str) -> Up:
        return control.up(self.files, names)

    @property
    def boards(self) -> dict[str, VirtualBoard]:
        return dict(control.require(self.files).boards)

    def board(self, name: str) -> Board:
        """The board as a manifest would have it, were it made for the lab."""
        twin = self.boards[name]
        return Board(
            name,
            BoardKind.GENERIC,
            "reader",
            VariantName.INT8,
            host=twin.host,
            port=twin.port,
            user=twin.user,
            root=twin.root,
            python=twin.python,
            service=ServiceManager.PROCESS,
            serve_port=twin.serve_port,
        )

    def reader(self) -> SshReader:
        return SshReader(self.files.known_hosts, self.files.identity)

    def ssh_argv(self, name: str, *options: str) -> list[str]:
        """OpenSSH's own client, as the lab tells a person to call it."""
        program, *rest = shlex.split(control.ssh_command(self.files, self.boards[name]))
        return [program, *options, *rest]

    def ssh(self, name: str, command: str) -> "subprocess.CompletedProcess[bytes]":
        argv = [*self.ssh_argv(name), command]
        return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)


MakeLab = Callable[..., Lab]
