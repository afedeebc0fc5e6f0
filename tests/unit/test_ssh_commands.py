"""The shell lines that reach boards: whole, and unharmed by any name in them."""

import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetctl.manifest.schema import Board, BoardKind, VariantName
from fleetctl.transports.base import ReplyStatus
from fleetctl.transports.ssh import (
    ask_command,
    ask_its_own_command,
    check_sudo,
    sent_script_command,
    user_command,
)
from fleetctl.transports.ssh_connection import Outcome
from fleetctl.transports.wire import BoardFault, standard_input

NASTY = "/opt/o'hara $(touch pwned)\n;`id`\\"


def a_board(**settings: object) -> Board:
    return Board("luxor-01", BoardKind.GENERIC, "reader", VariantName.INT8, **settings)  # type: ignore[arg-type]


def test_asking_uses_the_release_that_the_board_has() -> None:
    """The line names the root, the board's own python and the verb, as arguments of one fixed script."""
    expected = (
        'exec sh -c \'script="$1/current/runtime/activate.py"; [ -f "$script" ] || exit 94; '
        '[ -x "$2" ] && exec "$2" -I -S "$script" "$3" --root "$1"; '
        'exec python3 -I -S "$script" "$3" --root "$1"\' '
        "fleetctl /opt/fleetctl /opt/fleetctl/venv/bin/python observe"
    )

    assert expected == ask_its_own_command(a_board(), "observe")


def test_python_starts_only_where_its_modules_may_be(tmp_path: Path) -> None:
    """A board without a release of ours says so by the shell alone, and so does one of another version."""
    script = b"print('asked')"

    def asked() -> tuple[int, bytes]:
        line = ask_command(a_board(root=str(tmp_path)), "observe", script)
        sent = standard_input(script, {})
        done = subprocess.run(["/bin/sh", "-c", line], input=sent, capture_output=True, check=False)
        return done.returncode, done.stdout

    assert (94, b"") == asked()
    (tmp_path / "current" / "runtime").mkdir(parents=True)
    (tmp_path / "current" / "runtime" / "activate.py").touch()
    assert (93, b"") == asked()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "compiled").touch()
    assert (0, b"asked\n") == asked()


def test_becoming_root_never_waits_for_a_password() -> None:
    """With `become`, every kind of line starts with a sudo that fails rather than asks."""
    board = a_board(become=True)

    assert ask_command(board, "logs", b"x").startswith("exec env LC_MESSAGES=C sudo -n sh -c ")
    assert ask_its_own_command(board, "logs").startswith("exec env LC_MESSAGES=C sudo -n sh -c ")
    assert user_command(board, "uptime") == "exec env LC_MESSAGES=C sudo -n sh -c uptime"
    assert sent_script_command(board, "logs", b"x").startswith("exec env LC_MESSAGES=C sudo -n python3 ")


def test_the_sent_script_is_run_with_the_root() -> None:
    """A board without a release runs what it is sent, with the same verb and root."""
    script = b"print('hello')"
    line = sent_script_command(a_board(), "observe", script)
    sent = standard_input(script, {})

    done = subprocess.run(["/bin/sh", "-c", line], input=sent, capture_output=True, check=True)

    assert done.stdout == b"hello\n"
    assert line.endswith(" observe --root /opt/fleetctl")


def test_a_users_line_stays_one_line_for_one_shell() -> None:
    """Pipes and quotes in the user's line are the remote shell's business, not ours."""
    assert user_command(a_board(), 'echo "$HOME" | wc -c') == "exec sh -c 'echo \"$HOME\" | wc -c'"


def test_a_nasty_root_reaches_the_script_whole(tmp_path: Path) -> None:
    """A root full of shell syntax arrives as one argument, and nothing in it is run."""
    root = tmp_path / NASTY.lstrip("/")
    runtime = root / "current" / "runtime"
    runtime.mkdir(parents=True)
    (runtime / "activate.py").write_text("import sys; print(sys.argv[1:])")
    line = ask_its_own_command(a_board(root=str(root), python="/nowhere/python"), "observe")

    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, cwd=tmp_path, check=True)

    assert f"{['observe', '--root', str(root)]}\n" == done.stdout
    assert not (tmp_path / "pwned").exists()


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=40))
def test_any_text_arrives_as_it_was(text: str) -> None:
    """Whatever a user puts into a line reaches the board's shell byte for byte."""
    line = user_command(a_board(), f"printf %s {shlex.quote(text)}")

    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, check=True)

    assert text.encode() == done.stdout


@pytest.mark.parametrize(
    "said",
    [
        b"sudo: a password is required\n",
        b"pharaoh is not in the sudoers file.\n",
        b"Sorry, user x may not run sudo\n",
    ],
)
def test_sudo_that_says_no_is_a_refusal(said: bytes) -> None:
    """Where sudo answers in the command's place, a person has to act; the command itself may say anything."""
    with pytest.raises(BoardFault) as refused:
        check_sudo(a_board(become=True), Outcome(1, b"", said))

    assert refused.value.status is ReplyStatus.REFUSED
    assert "NOPASSWD" in refused.value.hint
    check_sudo(a_board(become=False), Outcome(1, b"", said))
    check_sudo(a_board(become=True), Outcome(0, b"", said))
    check_sudo(a_board(become=True), Outcome(1, b"out", said))
