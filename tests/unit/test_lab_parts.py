"""The lab's small parts: ports, marks on processes, the line that logs in."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from itertools import islice
from pathlib import Path

import pytest

from fleetctl.cli import main
from fleetctl.errors import FleetError
from fleetctl.lab import processes
from fleetctl.lab.control import ssh_command
from fleetctl.lab.detached import lock, owner
from fleetctl.lab.ports import free_ports, hold, is_free
from fleetctl.lab.state import LabFiles, VirtualBoard
from fleetctl.store import Lock


def test_ports_handed_out_are_free_and_all_different(tmp_path: Path) -> None:
    """Neither a port in use nor one promised already is handed out, nor one of the system's own."""
    first = list(islice(free_ports(tmp_path, ()), 3))
    with socket.create_server(("127.0.0.1", first[1])):
        second = list(islice(free_ports(tmp_path, {first[0]}), 50))

        assert not is_free(first[1])
    assert len(set(second)) == 50
    assert not {first[0], first[1]} & set(second)
    assert all(20_000 <= port < 32_000 for port in second)


def test_two_labs_start_looking_in_different_places(tmp_path: Path) -> None:
    """Labs of two clones do not fight for the same ports."""
    assert next(free_ports(tmp_path / "a", ())) != next(free_ports(tmp_path / "b", ()))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a held port could not be listened on")
def test_a_held_port_is_no_other_labs_and_its_own_service_listens_there(tmp_path: Path) -> None:
    """A port promised to a service that does not run yet is promised to nobody else."""
    port = next(free_ports(tmp_path, ()))
    seat = hold(port)

    assert seat is not None
    with seat:
        assert next(free_ports(tmp_path, ())) != port
        with socket.create_server(("127.0.0.1", port)):
            assert hold(port) is None
    assert next(free_ports(tmp_path, ())) == port


def test_no_port_left_is_said(tmp_path: Path) -> None:
    """With every port taken there is an error, not an endless search."""
    with pytest.raises(FleetError, match="no loopback port"):
        next(free_ports(tmp_path, range(20_000, 32_000)))


def start(home: Path, program: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        ["/bin/sh", "-c", program],
        env=processes.environment(home, "me"),
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


def test_the_processes_of_a_board_are_killed_and_no_others(tmp_path: Path) -> None:
    """A power cut takes children that left session and parent; the neighbour with a longer name lives."""
    home, neighbour = tmp_path / "luxor 1", tmp_path / "luxor 12"
    orphan = "import os, time; os.setsid(); print('up', flush=True); time.sleep(60)"
    doomed = start(home, f"{shlex.join([sys.executable, '-c', orphan])} & sleep 60")
    spared = start(neighbour, "sleep 60")
    try:
        assert doomed.stdout and doomed.stdout.readline() == b"up\n"
        assert len(processes.running([home])) == 3
        assert processes.kill_all([home]) == 3
        assert processes.running([home]) == []
        assert doomed.wait(5) == -signal.SIGKILL
        assert spared.poll() is None
    finally:
        processes.kill_all([neighbour])
        for process in (doomed, spared):
            process.communicate()


def test_no_boards_have_no_processes() -> None:
    """Killing nobody's processes kills none."""
    assert processes.kill_all([]) == 0


def test_the_daemons_lock_names_it_while_it_lives(tmp_path: Path) -> None:
    """The owner is known from the lock, not from a number in a file that may outlive its process."""
    path = tmp_path / "daemon.lock"
    assert owner(path) is None
    with lock(path) as held:
        held.write(f"{os.getpid()}\n".encode())
        held.flush()
        assert owner(path) == os.getpid()

    assert path.read_text()
    assert owner(path) is None


def test_looking_for_the_daemon_does_not_keep_it_from_starting(tmp_path: Path) -> None:
    """A second lock is refused for good only when it is held for good."""
    path = tmp_path / "daemon.lock"
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            owner(path)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(50):
            lock(path).close()
    finally:
        stop.set()
        thread.join()


def test_a_lab_does_not_end_under_a_rollout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its boards would fall silent one after the other; who is at work is named, and the way on."""
    monkeypatch.chdir(tmp_path)
    lab = tmp_path / ".fleetctl" / "lab"
    lab.mkdir(parents=True)
    with Lock(tmp_path / ".fleetctl" / "lock", "rollout of unas"):
        assert 50 == main(["lab", "down"])
        refused = capsys.readouterr().err
        there = lab.is_dir()

    assert refused.startswith("error: rollout of unas has been running since ")
    assert "hint: wait for it, or stop it" in refused
    assert (True, 0, False) == (there, main(["lab", "down"]), lab.is_dir())


def test_the_login_line_survives_any_folder() -> None:
    """The line can be pasted into a shell, and ssh finds the files, whatever the folder is called."""
    files = LabFiles(Path("/home/o'hara/50% done/.fleetctl/lab"))
    argv = shlex.split(ssh_command(files, VirtualBoard("127.0.0.1", 20_001, "me", "/r", "python", 1)))

    assert argv[:3] == ["ssh", "-o", 'IdentityFile="/home/o\'hara/50%% done/.fleetctl/lab/id_ed25519"']
    assert 'UserKnownHostsFile="/home/o\'hara/50%% done/.fleetctl/lab/known_hosts"' in argv
    assert argv[-3:] == ["-p", "20001", "me@127.0.0.1"]
