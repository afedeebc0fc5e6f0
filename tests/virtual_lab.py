"""A running lab as tests use it."""

import shlex
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tiny_board import TinyRelease, bundle, tiny_release

from fleetctl.lab import control
from fleetctl.lab.control import Up
from fleetctl.lab.state import LabFiles, VirtualBoard, Wanted
from fleetctl.manifest.schema import Board, BoardKind, ServiceManager, VariantName
from fleetctl.transports import board_script, wire
from fleetctl.transports.ssh import SshReader


@dataclass(frozen=True)
class Lab:
    """A running lab of a test's own."""

    files: LabFiles

    def up(self, *names: str) -> Up:
        return control.up(self.files, [Wanted(name) for name in names])

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

    def ssh(self, name: str, command: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        argv = [*self.ssh_argv(name), command]
        return subprocess.run(argv, input=stdin, capture_output=True, timeout=60, check=False)

    def ask(self, name: str, verb: str, request: Mapping[str, Any], payload: bytes = b"") -> dict[str, Any]:
        """A board verb by OpenSSH's client, the script ahead of the request."""
        script = board_script.whole()
        line = shlex.join(wire.command(verb, self.boards[name].root, script))
        return wire.parse_reply(
            verb, self.ssh(name, line, wire.standard_input(script, request, payload)).stdout
        )

    def install(self, name: str, **config: Any) -> TinyRelease:
        """Put a tiny release on the board, proved and confirmed."""
        release = tiny_release(self.boards[name].serve_port, board=name, **config)
        state = self.activate(name, release)["state"]
        assert state in ("pending", "unchanged")
        self.ask(name, "confirm", {"release": release.digest})
        return release

    def activate(self, name: str, release: TinyRelease, confirm_timeout: float = 20.0) -> dict[str, Any]:
        missing = self.ask(name, "missing", {"blobs": sorted(release.blobs)})["missing"]
        payload = bundle({digest: release.blobs[digest] for digest in missing}) if missing else b""
        request: dict[str, Any] = {
            "board": name,
            "release": release.digest,
            "manifest": release.release.manifest.decode(),
        }
        request |= {"bundle_bytes": len(payload), "commit": "c0ffee", "deadline": 20.0}
        return self.ask(name, "activate", {**request, "confirm_timeout": confirm_timeout}, payload)


MakeLab = Callable[..., Lab]
