"""One command on one board over ssh, with every wait bounded and every failure named.

Fabric and paramiko end here: what they raise leaves this module as `BoardFault`. Only the host keys handed in
are trusted; nothing of `~/.ssh/known_hosts` or `~/.ssh/config` is read, and no key is ever added.
"""

import contextlib
import logging
import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from fleetctl.errors import Refused, TransportError
from fleetctl.manifest.schema import Board
from fleetctl.transports import hostkeys
from fleetctl.transports.base import ReplyStatus
from fleetctl.transports.known_hosts import HostKey, address
from fleetctl.transports.wire import BoardFault, printable

if TYPE_CHECKING:
    import fabric
    import paramiko

OUTPUT_LIMIT = 1 << 20  # bytes of standard output, and of standard error
_CONNECT_PATIENCE = 10.0  # seconds until a host that does not answer counts as offline
_CHUNK = 1 << 16
_SIGNATURES = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}  # what a key of that type signs with


class Deadline:
    """A moment on the monotonic clock, asked for what is left until then."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds
        self.seconds = seconds

    @property
    def passed(self) -> bool:
        return time.monotonic() >= self._at

    @contextlib.contextmanager
    def stopped_until(self, turn: threading.Semaphore) -> Iterator[None]:
        """Hold `turn`; waiting for it does not count, so that no board pays for others' slowness."""
        before = time.monotonic()
        with turn:
            self._at += time.monotonic() - before
            yield

    def left(self, at_most: float = float("inf")) -> float:
        """Seconds left, at least a moment and at most `at_most`."""
        return max(0.001, min(at_most, self._at - time.monotonic()))


class Outcome(Struct, frozen=True):
    """How a command ended. `status` is None where it has no exit status: a signal ended it."""

    status: int | None
    stdout: bytes
    stderr: bytes


class Trust(Struct, frozen=True):
    """Who we are to boards, and which file says who they are to us."""

    known_hosts: Path
    key: "paramiko.PKey | None"  # None: the agent's keys and the default ones

    @classmethod
    def load(cls, known_hosts: Path, identity: Path | None) -> "Trust":
        """Read the private key.

        Raises:
            Refused: it is protected by a passphrase.
            TransportError: it cannot be read, or is no key.
        """
        return cls(known_hosts, _private_key(identity) if identity else None)


class Run(Protocol):
    """Runs one shell command on the board behind it and collects what it says.

    Raises:
        BoardFault: it says too much, or does not end in time, or the connection is lost.
    """

    def __call__(self, command: str, stdin: bytes) -> Outcome: ...


@contextlib.contextmanager
def connected(
    board: Board, keys: Sequence[HostKey], trust: Trust, deadline: Deadline, turn: threading.Semaphore
) -> Iterator[Run]:
    """A way to run commands on the board, authenticated both ways.

    `turn` is held during the costly part, the key exchange.

    Raises:
        BoardFault: the board cannot be reached, or refuses us, or we refuse it.
    """

    def run(command: str, stdin: bytes) -> Outcome:
        with _faults(board, trust.known_hosts, deadline):
            return _execute(connection, command, stdin, deadline)

    with _dial(board, deadline) as line:
        with _faults(board, trust.known_hosts, deadline), deadline.stopped_until(turn):
            connection = _shake_hands(board, keys, trust, deadline, line)
        try:
            yield run
        finally:
            connection.close()


def _execute(connection: "fabric.Connection", command: str, stdin: bytes, deadline: Deadline) -> Outcome:
    with _ended_by(deadline, connection), contextlib.closing(connection.create_session()) as channel:
        channel.settimeout(deadline.left())
        channel.exec_command(command)
        _send(channel, stdin)
        stdout, stderr = _collect(channel, deadline)
        if not channel.status_event.wait(deadline.left()):
            raise TimeoutError
        status = channel.recv_exit_status()
    if status < 0 and not connection.is_connected:
        raise EOFError
    return Outcome(status if status >= 0 else None, stdout, stderr)


@contextlib.contextmanager
def _ended_by(deadline: Deadline, connection: "fabric.Connection") -> Iterator[None]:
    """Hang up when time is up: not every wait of paramiko's ends by itself where a server falls silent."""
    hang_up = threading.Timer(deadline.left(), connection.transport.close)
    hang_up.daemon = True
    hang_up.start()
    try:
        yield
    finally:
        hang_up.cancel()


@contextlib.contextmanager
def _dial(board: Board, deadline: Deadline) -> Iterator[socket.socket]:
    """A TCP connection to a host whose ssh server has begun to speak."""
    try:
        line = socket.create_connection((board.host, board.port), deadline.left(_CONNECT_PATIENCE))
    except OSError as error:
        raise _unreachable(board, error.strerror or "it does not answer") from error
    with line:
        poll = select.poll()
        poll.register(line, select.POLLIN)
        if not poll.poll(deadline.left() * 1000):
            raise BoardFault(ReplyStatus.TIMED_OUT, f"{_place(board)} accepts connections but does not speak")
        if _has_hung_up(line):
            raise _unreachable(board, "it hangs up before its ssh server speaks")
        yield line


def _has_hung_up(line: socket.socket) -> bool:
    try:
        return not line.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


def _shake_hands(
    board: Board, keys: Sequence[HostKey], trust: Trust, deadline: Deadline, line: socket.socket
) -> "fabric.Connection":
    import fabric
    import paramiko

    connection = fabric.Connection(
        board.host.lower(),  # paramiko looks keys up by the very letters
        user=board.user,
        port=board.port,
        config=_plain_config(),
        connect_kwargs={
            "sock": line,
            "pkey": trust.key,
            "allow_agent": trust.key is None,
            "look_for_keys": trust.key is None,
            "timeout": deadline.left(),
            "banner_timeout": deadline.left(),
            "auth_timeout": deadline.left(),
            "channel_timeout": deadline.left(),
            "transport_factory": lambda sock, **options: _transport(sock, keys, options),
        },
    )
    connection.client.set_missing_host_key_policy(_refuse_unknown(board, trust.known_hosts))
    trusted = connection.client.get_host_keys()
    for key in keys:
        with contextlib.suppress(paramiko.pkey.UnknownKeyType):
            trusted.add(
                address(board.host, board.port), key.kind, paramiko.PKey.from_type_string(key.kind, key.blob)
            )
    try:
        connection.open()
    except BaseException:
        connection.client.close()
        raise
    return connection


def _plain_config() -> "fabric.Config":
    """Fabric's defaults and nothing else: no file of the user's or the system's changes where a read goes."""
    import fabric
    import paramiko

    return fabric.Config(lazy=True, ssh_config=paramiko.SSHConfig())


def _transport(sock: socket.socket, keys: Sequence[HostKey], options: dict[str, Any]) -> "paramiko.Transport":
    """A transport that prefers the kinds of host key we know, so that a board shows us one of those."""
    import paramiko

    transport = paramiko.Transport(sock, **options)
    security = transport.get_security_options()
    wanted = [name for key in keys for name in _SIGNATURES.get(key.kind, (key.kind,))]
    security.key_types = sorted(security.key_types, key=lambda kind: kind not in wanted)
    return transport


def _refuse_unknown(board: Board, known_hosts: Path) -> "paramiko.MissingHostKeyPolicy":
    import paramiko

    class RefuseUnknown(paramiko.MissingHostKeyPolicy):
        def missing_host_key(self, client: object, hostname: str, key: "paramiko.PKey") -> None:  # noqa: ARG002
            raise _with_fingerprint(hostkeys.unknown_key(board, known_hosts), key)

    return RefuseUnknown()


def _send(channel: "paramiko.Channel", stdin: bytes) -> None:
    with contextlib.suppress(OSError):  # a command need not read what it is given; its answer tells
        channel.sendall(stdin)
        channel.shutdown_write()


def _collect(channel: "paramiko.Channel", deadline: Deadline) -> tuple[bytes, bytes]:
    """Both outputs to their end. They are read in turn, since a full window of one would stop the other."""
    stdout, stderr = bytearray(), bytearray()
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLIN)
    while not deadline.passed:
        ended = (
            channel.eof_received or channel.closed
        )  # looked at first: data may come before the end, not after
        if channel.recv_ready():
            _take(stdout, channel.recv(_CHUNK))
        elif channel.recv_stderr_ready():
            _take(stderr, channel.recv_stderr(_CHUNK))
        elif ended:
            return bytes(stdout), bytes(stderr)
        else:
            poll.poll(deadline.left() * 1000)
    raise TimeoutError


def _take(collected: bytearray, chunk: bytes) -> None:
    collected += chunk
    if len(collected) > OUTPUT_LIMIT:
        raise BoardFault(ReplyStatus.FAILED, f"the board said more than {OUTPUT_LIMIT >> 20} MiB")


@contextlib.contextmanager
def _faults(board: Board, known_hosts: Path, deadline: Deadline) -> Iterator[None]:
    """What paramiko, fabric and sockets raise, as what it means for this board."""
    try:
        yield
    except BoardFault:
        raise
    except Exception as error:  # a hostile server can make paramiko raise anything at all
        raise fault_behind(error, board, known_hosts, timed_out=deadline.passed) from error


def fault_behind(error: Exception, board: Board, known_hosts: Path, *, timed_out: bool = False) -> BoardFault:
    """The fault that an exception of the ssh libraries stands for; most specific first."""
    import paramiko

    if isinstance(error, paramiko.BadHostKeyException):
        return _with_fingerprint(hostkeys.changed_key(board, known_hosts), error.key)
    if timed_out or isinstance(error, TimeoutError):
        return BoardFault(ReplyStatus.TIMED_OUT, f"{_place(board)} did not answer in time")
    if isinstance(error, paramiko.AuthenticationException) or "No authentication methods" in str(error):
        return hostkeys.denied(board)
    if isinstance(error, paramiko.IncompatiblePeer):
        return BoardFault(
            ReplyStatus.FAILED, f"{_place(board)} and we have no ssh algorithm in common: {_words(error)}"
        )
    if isinstance(error, paramiko.ChannelException):
        return BoardFault(ReplyStatus.FAILED, f"{_place(board)} lets us in but runs nothing: {_words(error)}")
    if isinstance(error, OSError | EOFError):
        return _unreachable(board, "the connection was lost")
    return BoardFault(ReplyStatus.FAILED, f"ssh to {_place(board)} failed: {_words(error)}")


def _unreachable(board: Board, why: str) -> BoardFault:
    return BoardFault(ReplyStatus.UNREACHABLE, f"no connection to {_place(board)}: {why}")


def _place(board: Board) -> str:
    return f"{board.host}:{board.port}"


def _words(error: Exception) -> str:
    return printable(f"{error}" or type(error).__name__, 200)


def _with_fingerprint(fault: BoardFault, key: "paramiko.PKey") -> BoardFault:
    return BoardFault(
        fault.status, f"{fault.error} (it shows {key.get_name()} {key.fingerprint})", fault.hint
    )


def _private_key(path: Path) -> "paramiko.PKey":
    import paramiko

    try:
        return paramiko.PKey.from_path(path)
    except (paramiko.PasswordRequiredException, TypeError) as error:  # cryptography says TypeError
        raise Refused(
            f"the ssh key {path} has a passphrase", hint=f"`ssh-add {path}`, and leave it to the agent"
        ) from error
    except OSError as error:
        raise TransportError(f"the ssh key {path} cannot be read: {error.strerror}") from error
    except (paramiko.SSHException, paramiko.pkey.UnknownKeyType, ValueError) as error:
        raise TransportError(f"{path} is not a private ssh key: {_words(error)}") from error


# Paramiko logs what it also raises; without a handler Python would print it between our own lines.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
