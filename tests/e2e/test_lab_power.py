"""The lab comes up, grows, loses power board by board, and goes down without leaving a process behind."""

import os
import shutil
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from virtual_lab import Lab, MakeLab

from fleetctl.errors import FleetError, LockHeld, UsageError
from fleetctl.lab import control, processes
from fleetctl.lab.detached import lock, owner
from fleetctl.lab.ports import is_free
from fleetctl.lab.state import LabState
from fleetctl.transports.base import ReplyStatus

pytestmark = pytest.mark.e2e


def answers(lab: Lab, name: str) -> bool:
    return lab.ssh(name, "true").returncode == 0


def test_up_twice_is_up_once(new_lab: MakeLab) -> None:
    """The second `up` finds the lab running and changes nothing."""
    lab = new_lab()
    first = lab.up("luxor-01", "luxor-02")
    second = lab.up("luxor-01", "luxor-02")

    assert (first.was_running, first.added) == (False, ("luxor-01", "luxor-02"))
    assert (second.was_running, second.added) == (True, ())
    assert second.state == first.state


def test_boards_added_to_the_manifest_join_a_running_lab(new_lab: MakeLab) -> None:
    """A later `up` adds what is new; those that run keep their ports and their daemon."""
    lab = new_lab()
    first = lab.up("luxor-01").state
    more = lab.up("luxor-01", "karnak-07")

    assert more.added == ("karnak-07",)
    assert more.state.pid == first.pid
    assert more.state.boards["luxor-01"] == first.boards["luxor-01"]
    assert answers(lab, "karnak-07")


def test_two_ups_at_once_make_one_lab(new_lab: MakeLab) -> None:
    """Whoever comes second is told so, or finds the lab up: there are never two daemons."""
    lab = new_lab()

    def attempt(_: int) -> int:
        try:
            return lab.up("luxor-01").state.pid
        except LockHeld:
            return 0

    with ThreadPoolExecutor(4) as pool:
        pids = set(pool.map(attempt, range(4))) - {0}

    assert pids == {owner(lab.files.daemon)}


def test_ports_and_folders_outlive_a_kept_lab(new_lab: MakeLab) -> None:
    """After `down --keep` and `up`, a board is where it was, with the files it had."""
    lab = new_lab()
    before = lab.up("luxor-01").state.boards["luxor-01"]
    lab.ssh("luxor-01", "echo papyrus > note")
    control.down(lab.files, keep=True)
    assert control.status(lab.files) is None

    after = lab.up("luxor-01").state.boards["luxor-01"]

    assert after == before
    assert lab.ssh("luxor-01", "cat note").stdout == b"papyrus\n"


def test_a_port_lost_meanwhile_is_exchanged(new_lab: MakeLab) -> None:
    """Somebody else listens where a board used to: the board moves, and its host key is known there."""
    lab = new_lab()
    old = lab.up("luxor-01").state.boards["luxor-01"].port
    control.down(lab.files, keep=True)
    with socket.create_server(("127.0.0.1", old)):
        new = lab.up("luxor-01").state.boards["luxor-01"].port

        assert new != old
        assert answers(lab, "luxor-01")


def test_a_board_without_power_is_offline_until_it_gets_it_back(new_lab: MakeLab) -> None:
    """A stopped board refuses connections, its neighbour does not notice, and `start` brings it back."""
    lab = new_lab()
    lab.up("luxor-01", "luxor-02")
    control.switch(lab.files, ["luxor-01"], online=False)
    replies = {
        r.board: r.status for r in lab.reader().run([lab.board(n) for n in lab.boards], "true", deadline=10)
    }

    assert replies == {"luxor-01": ReplyStatus.UNREACHABLE, "luxor-02": ReplyStatus.OK}
    control.switch(lab.files, ["luxor-01"], online=True)
    assert answers(lab, "luxor-01")


def test_a_power_cut_takes_every_process_and_a_boot_brings_the_service_back(new_lab: MakeLab) -> None:
    """Session, service and watcher are killed at once; after the boot the good release is served again."""
    lab = new_lab()
    lab.up("luxor-01")
    release = lab.install("luxor-01")
    home = lab.files.home("luxor-01")
    assert processes.running([home])

    control.switch(lab.files, ["luxor-01"], online=False)
    assert processes.running([home]) == []

    control.switch(lab.files, ["luxor-01"], online=True)
    assert lab.ask("luxor-01", "observe", {})["service"]["loaded"]["release"] == release.digest


def test_a_power_cut_on_probation_ends_in_the_good_release(new_lab: MakeLab) -> None:
    """A release that nobody had confirmed when the power went is undone at boot."""
    lab = new_lab()
    lab.up("luxor-01")
    good = lab.install("luxor-01")
    other = good.with_json("config/serve.json", threshold=0.25)
    assert lab.activate("luxor-01", other, confirm_timeout=60)["state"] == "pending"

    control.switch(lab.files, ["luxor-01"], online=False)
    control.switch(lab.files, ["luxor-01"], online=True)
    seen = lab.ask("luxor-01", "observe", {})

    assert (seen["current"], seen["pending"]) == (good.digest, None)
    assert seen["service"]["loaded"]["release"] == good.digest


def test_watchers_and_services_outlive_the_ssh_session(new_lab: MakeLab) -> None:
    """An unconfirmed release reverts by itself although the session that brought it is long gone."""
    lab = new_lab()
    lab.up("luxor-01")
    good = lab.install("luxor-01")
    other = good.with_json("config/serve.json", threshold=0.25)
    lab.activate("luxor-01", other, confirm_timeout=0.5)

    for _ in range(100):
        if (seen := lab.ask("luxor-01", "observe", {}))["pending"] is None:
            break
        threading.Event().wait(0.1)
    assert seen["current"] == seen["service"]["loaded"]["release"] == good.digest


def test_down_leaves_no_process_even_when_the_daemon_is_gone(new_lab: MakeLab) -> None:
    """The daemon killed, `status` says the lab is not up, and `down` still ends the boards' services."""
    lab = new_lab()
    pid = lab.up("luxor-01").state.pid
    lab.install("luxor-01")
    os.kill(pid, signal.SIGKILL)
    while owner(lab.files.daemon) is not None:
        threading.Event().wait(0.01)
    home = lab.files.home("luxor-01")

    assert control.status(lab.files) is None
    assert processes.running([home])
    assert control.down(lab.files, keep=False) == 1
    assert processes.running([home]) == []
    assert not lab.files.folder.exists()


def test_up_after_the_daemon_was_killed_finds_services_as_they_were(new_lab: MakeLab) -> None:
    """A lab whose daemon died comes back on the same ports, and a service that ran on is left alone."""
    lab = new_lab()
    first = lab.up("luxor-01").state
    lab.install("luxor-01")
    before = lab.ask("luxor-01", "observe", {})["service"]
    os.kill(first.pid, signal.SIGKILL)
    while owner(lab.files.daemon) is not None:
        threading.Event().wait(0.01)

    second = lab.up("luxor-01")

    assert not second.was_running
    assert second.state.boards == first.boards
    assert lab.ask("luxor-01", "observe", {})["service"] == before


def test_a_lab_whose_folder_is_removed_ends_by_itself(new_lab: MakeLab) -> None:
    """`git clean` takes the folder away: the daemon and all it runs end, since no command could find them."""
    lab = new_lab()
    board = lab.up("luxor-01").state.boards["luxor-01"]
    home = lab.files.home("luxor-01")
    lab.ssh("luxor-01", "(sleep 60 &) </dev/null >/dev/null 2>&1")
    assert processes.running([home])
    shutil.rmtree(lab.files.folder)

    for _ in range(500):
        if is_free(board.port) and not processes.running([home]):
            break
        threading.Event().wait(0.02)
    assert is_free(board.port)
    assert processes.running([home]) == []


def test_down_twice_is_down(new_lab: MakeLab) -> None:
    """There is nothing to stop the second time, and that is no error."""
    lab = new_lab()
    lab.up("luxor-01")

    assert [control.down(lab.files, keep=False), control.down(lab.files, keep=False)] == [1, 0]


def test_boards_that_are_not_there_cannot_be_switched(lab: Lab) -> None:
    """A typing error is a usage error, and switches nothing."""
    with pytest.raises(UsageError, match="the lab has no board luxor-99"):
        control.switch(lab.files, ["luxor-01", "luxor-99"], online=False)
    assert answers(lab, "luxor-01")


def test_a_port_taken_under_our_nose_is_said(new_lab: MakeLab) -> None:
    """A board that cannot listen makes `start` fail with the reason, and the others run on."""
    lab = new_lab()
    port = lab.up("luxor-01", "luxor-02").state.boards["luxor-01"].port
    control.switch(lab.files, ["luxor-01"], online=False)
    with socket.create_server(("127.0.0.1", port)), pytest.raises(FleetError, match="luxor-01 did not start"):
        control.switch(lab.files, ["luxor-01"], online=True)

    assert answers(lab, "luxor-02")
    control.switch(lab.files, ["luxor-01"], online=True)
    assert answers(lab, "luxor-01")


def test_a_daemon_that_cannot_start_says_why(new_lab: MakeLab) -> None:
    """What the daemon said last is in the error."""
    lab = new_lab()
    lab.files.folder.mkdir(parents=True)
    with lock(lab.files.daemon), pytest.raises(FleetError, match="did not start: the lab is running already"):
        lab.up("luxor-01")


def test_a_damaged_key_is_said_and_the_others_run(new_lab: MakeLab) -> None:
    """A board whose host key is no key does not start, by name; it takes nobody else down."""
    lab = new_lab()
    lab.up("luxor-01", "luxor-02")
    control.switch(lab.files, ["luxor-01"], online=False)
    lab.files.host_key("luxor-01").write_text("not a key\n")

    with pytest.raises(FleetError, match="luxor-01 did not start"):
        control.switch(lab.files, ["luxor-01"], online=True)
    assert answers(lab, "luxor-02")


def test_a_lab_of_another_version_is_not_misread(new_lab: MakeLab) -> None:
    """A state file of another shape is an error with a way out, never a guess."""
    lab = new_lab()
    lab.files.state.parent.mkdir(parents=True)
    for text in ("", "[]", "null", '{"schema": "fleetctl.lab/v9", "boards": {}}', '{"boards": 3}', "\x00"):
        lab.files.state.write_text(text)
        with pytest.raises(FleetError, match="not a lab of this version"):
            LabState.read(lab.files.state)


def test_names_that_are_no_folder_names_are_refused(new_lab: MakeLab) -> None:
    """A board cannot climb out of the lab's folder by its name."""
    for name in ("../up", "a/b", "..", ""):
        with pytest.raises(UsageError, match="cannot be a virtual board"):
            new_lab().up(name)
