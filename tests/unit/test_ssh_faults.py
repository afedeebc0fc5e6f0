"""What becomes of everything that ssh libraries and hostile servers can do to a read."""

import contextlib
import importlib
import inspect
import pkgutil
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import paramiko.ber  # which paramiko itself imports only where it needs it
import pytest

from fleetctl.errors import Refused, TransportError
from fleetctl.manifest.schema import Board, BoardKind, VariantName
from fleetctl.transports.base import ReplyStatus
from fleetctl.transports.ssh import SshReader
from fleetctl.transports.ssh_connection import fault_behind

KNOWN_HOSTS = Path("inventory/known_hosts")
REFUSED, FAILED = ReplyStatus.REFUSED, ReplyStatus.FAILED
UNREACHABLE, TIMED_OUT = ReplyStatus.UNREACHABLE, ReplyStatus.TIMED_OUT


def a_board(name: str = "luxor-01", *, host: str = "127.0.0.1", port: int = 22) -> Board:
    return Board(name, BoardKind.GENERIC, "reader", VariantName.INT8, host=host, port=port)


def a_host_key() -> paramiko.PKey:
    return paramiko.ECDSAKey.generate()


# Every exception that paramiko defines, and what it means for a board. A new one fails the test below.
MEANINGS: dict[str, tuple[Callable[[], Exception], ReplyStatus]] = {
    "AuthFailure": (lambda: paramiko.auth_strategy.AuthFailure(result=[]), REFUSED),
    "AuthenticationException": (lambda: paramiko.AuthenticationException("no"), REFUSED),
    "BadAuthenticationType": (lambda: paramiko.BadAuthenticationType("no", ["password"]), REFUSED),
    "PartialAuthentication": (lambda: paramiko.ssh_exception.PartialAuthentication(["password"]), REFUSED),
    "PasswordRequiredException": (lambda: paramiko.PasswordRequiredException("locked"), REFUSED),
    "UnableToAuthenticate": (lambda: paramiko.ssh_exception.UnableToAuthenticate("no"), REFUSED),
    "BadHostKeyException": (lambda: paramiko.BadHostKeyException("h", a_host_key(), a_host_key()), REFUSED),
    "NoValidConnectionsError": (
        lambda: paramiko.ssh_exception.NoValidConnectionsError({("192.0.2.1", 22): OSError(113, "no route")}),
        UNREACHABLE,
    ),
    "PipeTimeout": (lambda: paramiko.buffered_pipe.PipeTimeout(), UNREACHABLE),
    "BERException": (lambda: paramiko.ber.BERException("bad number"), FAILED),
    "ChannelException": (lambda: paramiko.ChannelException(1, "administratively prohibited"), FAILED),
    "ConfigParseError": (lambda: paramiko.ssh_exception.ConfigParseError("bad"), FAILED),
    "CouldNotCanonicalize": (lambda: paramiko.ssh_exception.CouldNotCanonicalize("bad"), FAILED),
    "IncompatiblePeer": (lambda: paramiko.ssh_exception.IncompatiblePeer("no cipher"), FAILED),
    "InvalidHostKey": (lambda: paramiko.hostkeys.InvalidHostKey("line", ValueError()), FAILED),
    "MessageOrderError": (lambda: paramiko.ssh_exception.MessageOrderError("out of order"), FAILED),
    "NeedRekeyException": (lambda: paramiko.packet.NeedRekeyException(), FAILED),
    "ProxyCommandFailure": (lambda: paramiko.ProxyCommandFailure("nc", "gone"), FAILED),
    "SFTPError": (lambda: paramiko.SFTPError("no"), FAILED),
    "SSHException": (lambda: paramiko.SSHException("kex failed"), FAILED),
    "UnknownKeyType": (lambda: paramiko.pkey.UnknownKeyType(key_type="x", key_bytes=b""), FAILED),
}
OTHERS: list[tuple[Exception, ReplyStatus]] = [
    (EOFError(), UNREACHABLE),
    (ConnectionResetError(104, "reset"), UNREACHABLE),
    (BrokenPipeError(32, "broken pipe"), UNREACHABLE),
    (TimeoutError("timed out"), TIMED_OUT),
    (paramiko.SSHException("No authentication methods available"), REFUSED),
    (ValueError("\x1b[2Jnot a number"), FAILED),
]


def test_every_exception_of_paramiko_has_a_meaning() -> None:
    """A new version's new exception is noticed here, not by a user."""
    found: set[str] = set()
    for module in pkgutil.iter_modules(paramiko.__path__, "paramiko."):
        if "win" not in module.name:
            for name, thing in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
                if issubclass(thing, Exception) and thing.__module__.startswith("paramiko"):
                    found.add(name)

    assert sorted(found) == sorted(MEANINGS)


@pytest.mark.parametrize("name", MEANINGS)
def test_what_paramiko_raises_becomes_a_status(name: str) -> None:
    """Each exception becomes one status and one clean sentence."""
    make, expected = MEANINGS[name]

    fault = fault_behind(make(), a_board(), KNOWN_HOSTS)

    assert fault.status is expected
    assert fault.error and fault.error.isprintable()


@pytest.mark.parametrize(("error", "expected"), OTHERS, ids=lambda value: type(value).__name__)
def test_what_sockets_raise_becomes_a_status(error: Exception, expected: ReplyStatus) -> None:
    """Lost connections count as offline, silence as silence; control characters do not come through."""
    fault = fault_behind(error, a_board(), KNOWN_HOSTS)

    assert fault.status is expected
    assert fault.error.isprintable()


def test_a_changed_key_is_told_from_one_out_of_time() -> None:
    """That a host key changed is said even when the deadline has passed meanwhile."""
    make, _ = MEANINGS["BadHostKeyException"]

    assert fault_behind(make(), a_board(), KNOWN_HOSTS, timed_out=True).status is REFUSED
    assert fault_behind(EOFError(), a_board(), KNOWN_HOSTS, timed_out=True).status is TIMED_OUT


@contextlib.contextmanager
def a_server(behave: Callable[[socket.socket], None]) -> Iterator[int]:
    """Something on loopback that is no ssh server; yields its port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                behave(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def stay_silent(line: socket.socket) -> None:
    line.recv(1)
    time.sleep(0.9)


def speak_http(line: socket.socket) -> None:
    line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def babble(line: socket.socket) -> None:
    while True:
        line.sendall(b"\x1b]0;owned\x07" * 1000)


def stop_after_the_banner(line: socket.socket) -> None:
    line.sendall(b"SSH-2.0-stuck\r\n")
    time.sleep(0.9)


def hang_up(line: socket.socket) -> None:
    line.sendall(b"SSH-2.0-gone\r\n")


def send_garbage(line: socket.socket) -> None:
    line.sendall(b"SSH-2.0-garbage\r\n" + bytes(range(256)) * 200)


@pytest.mark.parametrize(
    ("behave", "expected"),
    [
        (stay_silent, {TIMED_OUT}),
        (speak_http, {FAILED, UNREACHABLE}),
        (babble, {FAILED, UNREACHABLE, TIMED_OUT}),
        (stop_after_the_banner, {TIMED_OUT}),
        (hang_up, {FAILED, UNREACHABLE}),
        (send_garbage, {FAILED, UNREACHABLE, TIMED_OUT}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_hostile_server_costs_its_deadline_at_most(
    behave: Callable[[socket.socket], None], expected: set[ReplyStatus], capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever answers on the port, there is one clean reply in time, and libraries print nothing."""
    reader = SshReader(KNOWN_HOSTS, None)
    with a_server(behave) as port:
        start = time.monotonic()
        [reply] = reader.observe([a_board(port=port)], deadline=0.6)

        assert time.monotonic() - start < 2.5
    assert reply.status in expected
    assert reply.error and reply.error.isprintable()
    assert capfd.readouterr() == ("", "")


def test_nobody_on_the_port_counts_as_offline() -> None:
    """A refused connection is a board that is not there."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    [reply] = SshReader(KNOWN_HOSTS, None).observe([a_board(port=port)], deadline=2.0)

    assert reply.status is UNREACHABLE
    assert reply.error == f"no connection to 127.0.0.1:{port}: Connection refused"


def test_a_port_without_an_ssh_server_behind_it_counts_as_offline() -> None:
    """A forwarded port takes connections while the board boots, and closes them at once."""
    with a_server(lambda line: line.shutdown(socket.SHUT_RDWR)) as port:
        [reply] = SshReader(KNOWN_HOSTS, None).observe([a_board(port=port)], deadline=5.0)

    assert (UNREACHABLE, True) == (reply.status, "hangs up before" in reply.error)


def test_a_name_nobody_knows_counts_as_offline() -> None:
    """A host that does not resolve is one board's trouble, not the transport's."""
    [reply] = SshReader(KNOWN_HOSTS, None).observe([a_board(host="luxor.invalid")], deadline=2.0)

    assert reply.status is UNREACHABLE


def test_silent_boards_do_not_hold_up_others() -> None:
    """Fifty silent boards and one that refuses: the one is heard of at once, all after a single deadline."""
    with a_server(stay_silent) as silent, a_server(hang_up) as gone:
        boards = [a_board(f"silent-{i}", port=silent) for i in range(50)] + [a_board("gone", port=gone)]
        start = time.monotonic()
        replies = SshReader(KNOWN_HOSTS, None, workers=4).observe(boards, deadline=0.8)
        first = next(replies)
        waited = time.monotonic() - start
        rest = list(replies)

        assert (first.board, len(rest)) == ("gone", 50)
        assert waited < 0.8
        assert time.monotonic() - start < 3.0


def test_no_boards_give_no_replies() -> None:
    """Asking nobody ends at once."""
    assert list(SshReader(KNOWN_HOSTS, None).observe([], deadline=1.0)) == []


def test_a_key_with_a_passphrase_is_left_to_the_agent(tmp_path: Path) -> None:
    """A locked key is refused with the command that unlocks it, before any board is bothered."""
    import asyncssh

    path = tmp_path / "id"
    path.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key(passphrase="secret"))

    with pytest.raises(Refused) as refused:
        list(SshReader(KNOWN_HOSTS, path).observe([a_board()], deadline=1.0))
    assert refused.value.hint.startswith(f"`ssh-add {path}`")


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", b"hello"])
def test_what_is_no_key_is_said(content: bytes | None, tmp_path: Path) -> None:
    """An identity that is absent, empty, cut or text is one sentence that names the file."""
    path = tmp_path / "id"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(TransportError) as refused:
        list(SshReader(KNOWN_HOSTS, path).observe([a_board()], deadline=1.0))
    assert str(path) in refused.value.message


class Falls(paramiko.ServerInterface):
    """A server that lets everybody in, and then falls silent: at the command, or at what it is told."""

    def __init__(self, at_command: bool) -> None:
        self.at_command = at_command

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:  # noqa: ARG002
        return paramiko.AUTH_SUCCESSFUL

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:  # noqa: ARG002
        if self.at_command:
            time.sleep(60)
        return True


@pytest.mark.parametrize("at_command", [True, False])
def test_a_server_that_falls_silent_is_given_up(tmp_path: Path, at_command: bool) -> None:
    """After its own time, wherever it is in the conversation: others wait for nobody."""
    host_key, identity = paramiko.RSAKey.generate(2048), tmp_path / "id"
    paramiko.RSAKey.generate(2048).write_private_key_file(str(identity))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        known = tmp_path / "known_hosts"
        known.write_text(f"[127.0.0.1]:{port} {host_key.get_name()} {host_key.get_base64()}\n")

        def serve() -> None:
            line, _ = listening.accept()
            server = paramiko.Transport(line, default_window_size=1)
            server.add_server_key(host_key)
            server.start_server(server=Falls(at_command))

        threading.Thread(target=serve, daemon=True).start()
        begun = time.monotonic()
        (reply,) = SshReader(known, identity).observe([a_board(port=port)], deadline=3.0)

    assert ReplyStatus.TIMED_OUT is reply.status, reply.error
    assert time.monotonic() - begun < 30.0
