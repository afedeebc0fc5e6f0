"""Boards that cannot run our script at all: each is told apart by what stands in the place of its answer."""

import pytest

from fleetctl.manifest.schema import Board, BoardKind, VariantName
from fleetctl.transports.base import ReplyStatus
from fleetctl.transports.ssh import check_sudo
from fleetctl.transports.ssh_connection import Outcome
from fleetctl.transports.unable import killed, no_python, no_sudo, refusal_of_sudo
from fleetctl.transports.wire import BoardFault, BoardSaidNo

BOARD = Board("luxor-01", BoardKind.GENERIC, "reader", VariantName.INT8, user="pi", become=True)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("sudo: python3: command not found\n", "there is no python3 on luxor-01"),
        ("/bin/sh: 1: python3: not found\n", "there is no python3 on luxor-01"),
        ("bash: line 1: exec: python3: not found\n", "there is no python3 on luxor-01"),
        ("zsh:1: command not found: python3\n", "there is no python3 on luxor-01"),
        ("env: ‘python3’: No such file or directory\n", "there is no python3 on luxor-01"),
        (
            '  File "activate.py", line 1\nSyntaxError: future feature annotations is not defined\n',
            "python3 on luxor-01 is older than 3.7",
        ),
        (
            "ModuleNotFoundError: No module named 'json'\n",
            "python3 on luxor-01 is not complete: No module named 'json'",
        ),
    ],
)
def test_a_board_without_a_python_for_us_is_told_what_to_install(said: str, expected: str) -> None:
    """None, one that is too old, or one without its standard library."""
    fault = no_python(said, BOARD)

    assert fault is not None
    assert (ReplyStatus.FAILED, expected) == (fault.status, fault.error)
    assert "Python 3.7 or later" in fault.hint


@pytest.mark.parametrize(
    "said", ["", "Killed\n", "ModuleNotFoundError: No module named 'fleetctl_device.x'\n"]
)
def test_other_words_are_not_about_python(said: str) -> None:
    """A script that was ended, or a release of ours that was damaged."""
    assert no_python(said, BOARD) is None


@pytest.mark.parametrize(
    "said", ["env: 'sudo': No such file or directory\n", "/bin/sh: 1: sudo: not found\n"]
)
def test_a_board_without_sudo_says_so(said: str) -> None:
    """`env` says it over plain ssh, the shell under Ansible."""
    fault = no_sudo(said, BOARD)

    assert fault is not None
    assert (True, True) == ("no sudo on luxor-01" in fault.error, "install" in fault.hint)


def test_sudo_that_wants_a_terminal_is_no_matter_of_passwords() -> None:
    """`requiretty` refuses whoever has no terminal, and we never have one."""
    fault = refusal_of_sudo("sudo: sorry, you must have a tty to run sudo\n", BOARD)

    assert fault is not None
    assert (ReplyStatus.REFUSED, True) == (fault.status, "!requiretty" in fault.hint)


def test_what_a_command_of_the_users_own_says_is_its_own() -> None:
    """Only `env`, which we put before it, says that there is no sudo; the command may look for one, too."""
    with pytest.raises(BoardFault, match="no sudo on luxor-01"):
        check_sudo(BOARD, Outcome(127, b"", b"env: 'sudo': No such file or directory\n"))
    check_sudo(BOARD, Outcome(127, b"", b"sh: 1: sudo: not found\n"))


@pytest.mark.parametrize("code", ["busy", "no-space", "environment-failed"])
def test_a_board_that_says_no_for_now_is_told_what_to_try(code: str) -> None:
    """What bootstrap meets on boards that are at work already, full, or lack what an environment needs."""
    assert BoardSaidNo("prepare", code, "it says why").hint


def test_a_script_that_the_kernel_killed_says_so() -> None:
    """Where memory is short it dies without a word of its own; other statuses are its own."""
    fault = killed("prepare", 137, BOARD)

    assert fault is not None
    assert (True, True) == ("luxor-01 was killed" in fault.error, "memory" in fault.hint)
    assert killed("prepare", 1, BOARD) is None
