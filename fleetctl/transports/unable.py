"""What stands in an answer's place where our script could not run: no root for us, or no Python for it."""

import re

from fleetctl.manifest.schema import Board
from fleetctl.transports.base import ReplyStatus
from fleetctl.transports.wire import BoardFault, printable

_WANTS_PASSWORD = (
    "a password is required",
    "Missing sudo password",
    "is not in the sudoers file",
    "may not run sudo",
    "is not allowed to",
)
_WANTS_TERMINAL = "you must have a tty to run sudo"
# As `env`, shells and sudo itself say it: dash and bash name the program first, zsh last.
_ABSENT = r"\b{0}['’]?: (?:command not found|not found|No such file or directory)|command not found: {0}\b"
_KILLED = 128 + 9  # exit status of a shell whose program the kernel killed, as it does where memory is short
_TOO_OLD = "future feature annotations is not defined"  # what Python says of our first line, up to 3.6
_INCOMPLETE = re.compile(r"ModuleNotFoundError: (No module named '\w+')")


def refusal_of_sudo(said: str, board: Board) -> BoardFault | None:
    """The fault, if what a command wrote are the words with which sudo refuses."""
    if any(words in said for words in _WANTS_PASSWORD):
        return BoardFault(
            ReplyStatus.REFUSED,
            f"sudo on {board.name} wants a password for {board.user}",
            "allow `NOPASSWD` for that user in sudoers, or connect as root",
        )
    if _WANTS_TERMINAL in said:
        return BoardFault(
            ReplyStatus.REFUSED,
            f"sudo on {board.name} wants a terminal",
            f"say `Defaults:{board.user} !requiretty` in its sudoers, or connect as root",
        )
    return None


def no_sudo(said: str, board: Board) -> BoardFault | None:
    """The fault, if a shell's or `env`'s words are that there is no sudo."""
    if not (board.become and re.search(_ABSENT.format("sudo"), said)):
        return None
    return BoardFault(
        ReplyStatus.FAILED,
        f"there is no sudo on {board.name}, which `become: true` is done with",
        "install the package sudo there, or connect as root",
    )


def no_python(said: str, board: Board) -> BoardFault | None:
    """The fault, if the words are that there is no Python that can run us."""
    found = None
    if re.search(_ABSENT.format("python3"), said):
        found = f"there is no python3 on {board.name}"
    elif _TOO_OLD in said:
        found = f"python3 on {board.name} is older than 3.7"
    elif incomplete := _INCOMPLETE.search(said):
        found = f"python3 on {board.name} is not complete: {printable(incomplete[1], 100)}"
    if found is None:
        return None
    hint = (
        "it needs Python 3.7 or later as `python3`, with its whole standard library (Debian: `python3-venv`)"
    )
    return BoardFault(ReplyStatus.FAILED, found, hint)


def killed(verb: str, status: int, board: Board) -> BoardFault | None:
    """The fault, if a shell's exit status says that the kernel killed what it ran."""
    if status != _KILLED:
        return None
    return BoardFault(
        ReplyStatus.FAILED,
        f"{verb}: what ran on {board.name} was killed",
        "is there memory enough? `journalctl -k` on the board says whether the kernel did it",
    )
