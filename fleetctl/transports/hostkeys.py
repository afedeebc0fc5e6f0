"""What ssh says when a connection fails, as a reply's status and the command that helps.

Host keys are trusted from `inventory/known_hosts` alone, so accepting one is a change in git, never a prompt.
"""

import re
import shlex
from pathlib import Path

from fleetctl.manifest.schema import Board
from fleetctl.transports.base import ReplyStatus
from fleetctl.transports.unable import refusal_of_sudo
from fleetctl.transports.wire import BoardFault, printable

_DENIED = ("Permission denied", "Too many authentication failures", "No more authentication methods")
_SLOW_SUDO = "waiting for privilege escalation prompt"  # Ansible's words; ssh alone may have been slow, too
_TO_WHOM = re.compile(r"^ssh: connect to host \S+ port \d+: ")  # which we say ourselves
_CUT_OFF = "Data could not be sent to remote host"  # Ansible's words


def unknown_key(board: Board, known_hosts: Path) -> BoardFault:
    """The board has a host key that `known_hosts` does not hold."""
    return BoardFault(
        ReplyStatus.REFUSED,
        f"the host key of {board.host} is not in {known_hosts.name}",
        f"check its fingerprint on the board, then `{accept_command(board, known_hosts)}`",
    )


def changed_key(board: Board, known_hosts: Path) -> BoardFault:
    """The board has another host key than `known_hosts` holds: reinstalled, or not our board."""
    return BoardFault(
        ReplyStatus.REFUSED,
        f"the host key of {board.host} is not the one in {known_hosts.name}: reinstalled, or another machine",
        f"if you know why, `{forget_command(board, known_hosts)} && {accept_command(board, known_hosts)}`",
    )


def denied(board: Board) -> BoardFault:
    """The board knows none of our keys."""
    return BoardFault(
        ReplyStatus.REFUSED,
        f"{board.user}@{board.host} refused our ssh keys",
        f"add a key to ~{board.user}/.ssh/authorized_keys there, or load the right one into ssh-agent",
    )


def accept_command(board: Board, known_hosts: Path) -> str:
    """The shell command that adds the board's present host key to `known_hosts`."""
    scan = shlex.join(["ssh-keyscan", "-p", str(board.port), board.host])
    return f"{scan} >> {shlex.quote(str(known_hosts))}"


def forget_command(board: Board, known_hosts: Path) -> str:
    """The shell command that removes the board's old host key from `known_hosts`."""
    host = board.host if board.port == 22 else f"[{board.host}]:{board.port}"
    return shlex.join(["ssh-keygen", "-R", host, "-f", str(known_hosts)])


def fault_of(said: str, board: Board, known_hosts: Path) -> BoardFault:
    """The fault behind what OpenSSH's client, or sudo, wrote before giving up.

    A changed key is asked for first: ssh then prints both sentences.
    """
    if "REMOTE HOST IDENTIFICATION HAS CHANGED" in said:
        return changed_key(board, known_hosts)
    if "Host key verification failed" in said or "host key is known for" in said:
        return unknown_key(board, known_hosts)
    if any(words in said for words in _DENIED):
        return denied(board)
    if refused := refusal_of_sudo(said, board):
        return refused
    if _SLOW_SUDO in said:
        return BoardFault(ReplyStatus.TIMED_OUT, f"sudo on {board.name} did not answer in time")
    if _CUT_OFF in said and not said.partition(" ssh:")[2].strip():  # ssh itself had nothing to say
        return BoardFault(
            ReplyStatus.UNREACHABLE,
            f"{board.host}:{board.port} did not take all that was sent: what ran there was ended, "
            "or the connection was lost",
            "try again; where memory is short the kernel ends what takes much (`journalctl -k` on the board)",
        )
    return BoardFault(
        ReplyStatus.UNREACHABLE, f"no connection to {board.host}:{board.port}: {_last_line(said)}"
    )


def _last_line(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    return printable(_TO_WHOM.sub("", lines[-1]) if lines else "ssh said nothing", 200)
