"""A virtual board: an ssh server on loopback that runs commands in its own folder, and can lose its power."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from fleetctl.lab import processes, session
from fleetctl.lab.keys import public_half
from fleetctl.lab.state import LabFiles, VirtualBoard

if TYPE_CHECKING:
    import asyncssh

_BOOT_PATIENCE = 60.0  # seconds for what runs at boot
_LOGIN_PATIENCE = 30  # seconds from connection to authentication
_CIPHERS = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes128-ctr"]


class PoweredBoard:
    """One board under power, and its present record in `record`."""

    def __init__(self, name: str, record: VirtualBoard, files: LabFiles) -> None:
        self.name = name
        self.record = replace(record, online=False, error="")
        self._files = files
        self._server: asyncssh.SSHAcceptor | None = None
        self._connections: set[asyncssh.SSHServerConnection] = set()

    @property
    def home(self) -> Path:
        return self._files.home(self.name)

    async def switch_on(self) -> None:
        """Boot and listen. What goes wrong is kept in the record, for the one who asked."""
        try:
            await self._boot()
            self._server = await self._listen()
        except (OSError, TimeoutError, ValueError) as error:  # ValueError: a key that is none
            self.record = replace(self.record, online=False, error=str(error) or "it did not boot in time")
        else:
            self.record = replace(self.record, online=True, error="")

    async def switch_off(self) -> None:
        """A power cut, as the network sees it. Killing the board's processes is the caller's part."""
        if self._server:
            self._server.close()
            await self._server.wait_closed()
            self._server = None
        for connection in list(self._connections):
            connection.abort()
        self.record = replace(self.record, online=False, error="")

    async def _boot(self) -> None:
        """Make the board's folder and run what its operating system would run, before anybody can log in."""
        self.home.mkdir(parents=True, exist_ok=True)
        activate = Path(self.record.root) / "current" / "runtime" / "activate.py"
        if not activate.exists():
            return
        with (self.home / "boot.log").open("ab") as log:
            child = await asyncio.create_subprocess_exec(
                self.record.python,
                *(str(activate), "recover", "--root", self.record.root),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self.home,
                env=processes.environment(self.home, self.record.user),
                start_new_session=True,
            )
            await asyncio.wait_for(child.communicate(b"{}\n"), _BOOT_PATIENCE)

    async def _listen(self) -> "asyncssh.SSHAcceptor":
        import asyncssh

        around = session.Surroundings(self.home, processes.environment(self.home, self.record.user))
        board = self
        client_key = asyncssh.read_public_key(public_half(self._files.identity)).public_data

        class Door(asyncssh.SSHServer):
            """Lets in the lab's own key, under the lab's own user, and nothing else."""

            def connection_made(self, conn: "asyncssh.SSHServerConnection") -> None:
                self.connection = conn
                board._connections.add(conn)

            def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
                board._connections.discard(self.connection)

            def public_key_auth_supported(self) -> bool:
                return True

            def validate_public_key(self, username: str, key: "asyncssh.SSHKey") -> bool:
                return username == board.record.user and key.public_data == client_key

        return await asyncssh.listen(
            self.record.host,
            self.record.port,
            server_factory=Door,
            server_host_keys=[str(self._files.host_key(self.name))],
            process_factory=lambda channel: session.serve(channel, around),
            sftp_factory=lambda channel: _home_sftp(channel, self.home),
            encoding=None,
            line_editor=False,
            encryption_algs=_CIPHERS,
            compression_algs=None,
            password_auth=False,
            kbdint_auth=False,
            gss_host=None,
            agent_forwarding=False,
            login_timeout=_LOGIN_PATIENCE,
            backlog=256,
        )


def _home_sftp(channel: "asyncssh.SSHServerChannel[bytes]", home: Path) -> "asyncssh.SFTPServer":
    """Files as a shell on the board sees them: relative to its home, and no wall around it."""
    import asyncssh

    class HomeSFTP(asyncssh.SFTPServer):
        def map_path(self, path: bytes) -> bytes:
            return os.path.join(bytes(home), path)  # noqa: PTH118 - bytes, as ssh has them

        def exit(self) -> None:
            self.channel.exit(0)  # asyncssh merely closes, which scp takes for a failure

    return HomeSFTP(channel)
