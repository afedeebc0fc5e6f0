"""A virtual board is a good enough ssh server for OpenSSH, scp, sftp and Ansible, many at once."""

import hashlib
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from virtual_lab import Lab, MakeLab

from fleetctl.lab import processes

pytestmark = pytest.mark.e2e

MANY = 20
BYTES = 2 << 20


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    give_up = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("shared", [False, True], ids=["a connection each", "ControlMaster"])
def test_twenty_boards_get_all_of_their_standard_input(
    shared: bool, new_lab: MakeLab, short_path: Path
) -> None:
    """Two megabytes to each of twenty boards at once arrive whole, twice, and so do exit statuses."""
    lab = new_lab()
    names = [f"board-{i}" for i in range(MANY)]
    lab.up(*names)
    data = random.Random(7).randbytes(BYTES)
    expected = (3, hashlib.sha256(data).hexdigest().encode() + b"  -\n", b"said aside\n")
    options = ["-o", "ControlMaster=auto", "-o", "ControlPersist=20", "-o", f"ControlPath={short_path}/%C"]

    def send(name: str) -> tuple[int, bytes, bytes]:
        argv = [*lab.ssh_argv(name, *(options if shared else [])), "sha256sum; echo said aside >&2; exit 3"]
        done = subprocess.run(argv, input=data, capture_output=True, timeout=120, check=False)
        return done.returncode, done.stdout, done.stderr

    with ThreadPoolExecutor(MANY) as pool:
        for _ in range(2):
            assert [expected] * MANY == list(pool.map(send, names))
    for name in names if shared else []:
        subprocess.run([*lab.ssh_argv(name, "-O", "exit", *options)], capture_output=True, check=True)


@pytest.mark.parametrize(
    ("pipelining", "count"), [("True", MANY), ("False", 4)], ids=["pipelined", "with files"]
)
def test_ansible_reaches_every_board(
    pipelining: str, count: int, new_lab: MakeLab, tmp_path: Path, short_path: Path
) -> None:
    """Ansible's ping works on many boards at once, whether modules come on standard input or as files."""
    lab = new_lab()
    lab.up(*(f"board-{i}" for i in range(count)))
    hosts = {
        name: {
            "ansible_host": board.host,
            "ansible_port": board.port,
            "ansible_user": board.user,
            "ansible_python_interpreter": board.python,
        }
        for name, board in lab.boards.items()
    }
    trust = f"-o UserKnownHostsFile='\"{lab.files.known_hosts}\"' -o IdentitiesOnly=yes"
    variables = {
        "ansible_ssh_private_key_file": str(lab.files.identity),
        "ansible_ssh_common_args": trust,
        "ansible_remote_tmp": "~/.ansible/tmp",
    }
    inventory = tmp_path / "inventory.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": variables}}))
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "ANSIBLE_PIPELINING": pipelining,
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(short_path),
        "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=5s",
        "LC_ALL": "C.UTF-8",
    }
    argv = [
        str(Path(sys.executable).with_name("ansible")),
        "-i",
        str(inventory),
        "all",
        "-m",
        "ping",
        "-f",
        "20",
        "-o",
    ]

    done = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=120, check=False)

    assert done.stdout.count("SUCCESS") == count, done.stdout + done.stderr


def test_commands_start_in_the_boards_folder_with_nothing_of_ours(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller's environment, secrets in it among them, does not reach a board."""
    monkeypatch.setenv("LC_SECRET", "hunter2")
    said = lab.ssh("luxor-01", "pwd; echo ~; env").stdout.decode()
    home = str(lab.files.home("luxor-01"))

    assert said.startswith(f"{home}\n{home}\n")
    names = {line.partition("=")[0] for line in said.splitlines()[2:]}
    assert names <= {
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "LANG",
        "PWD",
        "OLDPWD",
        "_",
        "FLEETCTL_LAB_BOARD",
        "SHLVL",
    }


@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_exit_statuses_come_back(status: int, lab: Lab) -> None:
    """The exit status of a command is ssh's."""
    assert lab.ssh("luxor-01", f"exit {status}").returncode == status


def test_a_command_killed_by_a_signal_is_told_from_one_that_exits(lab: Lab) -> None:
    """ssh says 255 where there was no exit status, as it does with sshd."""
    assert lab.ssh("luxor-01", "kill -KILL $$").returncode == 255


def test_a_command_that_reads_nothing_ends_all_the_same(lab: Lab) -> None:
    """Nobody waits for input that the command does not want."""
    with Path("/dev/zero").open("rb") as endless:
        done = subprocess.run([*lab.ssh_argv("luxor-01"), "exit 5"], stdin=endless, timeout=20, check=False)

    assert done.returncode == 5


def test_large_output_comes_whole_on_both_streams(lab: Lab) -> None:
    """Megabytes on standard output and error at once neither block each other nor get lost at the exit."""
    script = "head -c 3000000 /dev/zero & head -c 2000000 /dev/zero >&2; wait"
    done = lab.ssh("luxor-01", script)

    assert (len(done.stdout), len(done.stderr), done.returncode) == (3_000_000, 2_000_000, 0)


def test_a_terminal_is_a_terminal(lab: Lab) -> None:
    """With `ssh -tt` a command has a controlling terminal."""
    argv = [*lab.ssh_argv("luxor-01", "-tt"), "tty && echo to the terminal > /dev/tty; exit 3"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)

    assert done.returncode == 3
    assert b"/dev/" in done.stdout and b"to the terminal" in done.stdout


@pytest.mark.parametrize("how", [["scp"], ["scp", "-O"]], ids=["sftp", "the old protocol"])
def test_files_go_in_and_out(how: list[str], lab: Lab, tmp_path: Path) -> None:
    """scp, new and old, reads and writes files relative to the board's folder."""
    board, source, back = lab.boards["luxor-02"], tmp_path / "source", tmp_path / "back"
    source.write_bytes(random.Random(1).randbytes(300_000))
    options = [*lab.ssh_argv("luxor-02")[1:-3], "-P", str(board.port)]
    there = f"{board.user}@{board.host}:sent"

    subprocess.run([*how, *options, source, there], check=True, capture_output=True, timeout=60)
    subprocess.run([*how, *options, there, back], check=True, capture_output=True, timeout=60)

    assert source.read_bytes() == (lab.files.home("luxor-02") / "sent").read_bytes() == back.read_bytes()


def test_only_the_labs_key_and_user_get_in(lab: Lab) -> None:
    """Another key, or another user, is refused; there is no password to guess."""
    argv = lab.ssh_argv("luxor-01", "-o", "BatchMode=yes")
    stranger = subprocess.run(
        [*argv[:-1], "pharaoh@127.0.0.1", "true"], capture_output=True, timeout=20, check=False
    )
    other = str(lab.files.host_key("luxor-02")).replace("%", "%%")
    argv = [f'IdentityFile="{other}"' if word.startswith("IdentityFile=") else word for word in argv]
    other_key = subprocess.run([*argv, "true"], capture_output=True, timeout=20, check=False)

    for done in (stranger, other_key):
        assert done.returncode == 255
        assert b"Permission denied (publickey)." in done.stderr


def test_private_keys_are_private(lab: Lab) -> None:
    """No key of the lab, and not its folder, can be read by others."""
    keys = [lab.files.identity, lab.files.host_key("luxor-01")]

    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}
    assert lab.files.folder.stat().st_mode & 0o777 == 0o700


def test_a_command_dies_with_its_connection_and_what_it_detached_lives(lab: Lab) -> None:
    """Killing the ssh client ends the command it ran; a process in a session of its own outlives it."""
    home = lab.files.home("luxor-01")
    detached = "import subprocess; subprocess.Popen(['sleep', '987'], start_new_session=True)"
    detach = shlex.join([sys.executable, "-c", detached])
    before = set(processes.running([home]))
    argv = [*lab.ssh_argv("luxor-01"), f"{detach} </dev/null >/dev/null 2>&1; echo ready; sleep 986"]
    client = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert client.stdout
    assert client.stdout.readline() == b"ready\n"
    client.kill()
    client.communicate()

    assert eventually(lambda: len(set(processes.running([home])) - before) == 1)
    [survivor] = set(processes.running([home])) - before
    os.kill(survivor, signal.SIGKILL)
    assert eventually(lambda: survivor not in processes.running([home]))


def test_many_commands_share_a_connection(lab: Lab, short_path: Path) -> None:
    """Thirty sessions over one multiplexed connection each get their own answer."""
    options = ["-o", "ControlMaster=auto", "-o", "ControlPersist=20", "-o", f"ControlPath={short_path}/%C"]
    subprocess.run([*lab.ssh_argv("luxor-01", *options), "true"], check=True, timeout=20, capture_output=True)

    def ask(number: int) -> bytes:
        argv = [*lab.ssh_argv("luxor-01", *options), f"cat; echo {number}"]
        return subprocess.run(argv, input=b"x" * number, capture_output=True, timeout=60, check=True).stdout

    with ThreadPoolExecutor(10) as pool:  # sshd's own limit for sessions on a connection
        answers = list(pool.map(ask, range(30)))
    subprocess.run([*lab.ssh_argv("luxor-01", "-O", "exit", *options)], capture_output=True, check=True)

    assert answers == [b"x" * number + f"{number}\n".encode() for number in range(30)]
