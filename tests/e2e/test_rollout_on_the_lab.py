"""The main job as a person does it: command lines, virtual boards over ssh, a real model that serves."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from long_matrices import takes
from process_tree import descendants
from published import Said
from quadrant_fleet import QuadrantFleet, quadrants_on_the_lab

from fleetctl.tale import newest_journal

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("rollout on the lab")]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[QuadrantFleet]:
    """Three virtual boards that run what git says."""
    with quadrants_on_the_lab(tmp_path / "fleet") as made:
        yield made


def test_from_manifest_to_proof_and_back(fleet: QuadrantFleet) -> None:
    """A good release is proved everywhere, a value reaches its boards, a bad model stops at the canary."""
    first = fleet.run("rollout", "--yes")

    assert (first.status, fleet.run("status").status) == (0, 0), first.err
    proved = {name: board["loaded"] for name, board in fleet.boards().items()}

    fleet.edit("threshold: 0.6", "threshold: 0.7")
    second = fleet.run("rollout", "--yes")
    changed = [name for name, board in fleet.boards().items() if board["loaded"] != proved[name]]

    assert (second.status, changed) == (0, ["karnak-01"]), second.err
    proved = {name: board["loaded"] for name, board in fleet.boards().items()}

    config = fleet.root / ".fleetctl/lab/boards/luxor-02/opt/fleetctl/current/config/serve.json"
    wanted = config.read_text()
    config.unlink()
    config.write_text(wanted.replace('"threads": 1', '"threads": 3'))
    found = fleet.run("drift", "-o", "json")
    healed = fleet.run("rollout", "--yes")

    assert (1, "fleetctl rollout --on luxor-02") == (found.status, found.json["heal"])
    assert (0, 0, wanted) == (healed.status, fleet.run("drift").status, config.read_text())

    board = fleet.run("doctor", "luxor-02", "--remedy", "restart-service", "--yes", "-o", "json")
    grades = {check["check"]: check["grade"] for check in board.json["checks"]}

    assert {"good"} == {grades[check] for check in ("service", "accelerator", "release", "answers")}
    assert 0 == fleet.run("status").status

    fleet.mix_up_labels()
    third = fleet.run("rollout", "--yes")

    assert third.status == 40
    assert "luxor-01: rolled back, " in third.err
    assert "golden answers agree" in third.err
    boards = fleet.boards()
    assert proved == {name: board["loaded"] for name, board in boards.items()}
    assert {"running"} == {board["service"] for board in boards.values()}

    fleet.git("revert", "--no-edit", "HEAD")
    assert [0, 0, 0] == [fleet.run(verb).status for verb in ("plan", "status", "smoke")]


def test_boards_are_left_as_often_as_one_likes(fleet: QuadrantFleet) -> None:
    """A job that is run again has nothing to do, and succeeds; a board that does not answer was not left."""
    fleet.must("rollout", "--yes", "--on", "luxor-01")
    first = fleet.run("leave", "--yes", "--on", "luxor-01")
    fleet.must("lab", "stop", "luxor-02")
    again = fleet.run("leave", "--yes", "--on", "luxor-*", "-o", "json")

    assert (0, True) == (first.status, "luxor-01: left" in first.err), first.err
    assert {"luxor-01": True, "luxor-02": False} == {b["board"]: b["left"] for b in again.json["boards"]}
    assert (41, True) == (again.status, "luxor-01: nothing to do: no release of ours" in again.err), again.err


# Seconds into a rollout, from its plan to its last wave.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
MOMENTS = [(tenths / 10, sent) for tenths in range(5, 100, 5) for sent in SIGNALS]


@takes("half a minute each")  # tests/crash kills controllers at instants of its own
@pytest.mark.parametrize(("after", "with_signal"), MOMENTS)
def test_an_interrupted_rollout_leaves_every_board_whole(
    fleet: QuadrantFleet, after: float, with_signal: signal.Signals
) -> None:
    """Whenever the controller dies, each board serves one whole release, and running it again converges."""
    fleet.must("rollout", "--yes")
    fleet.edit("defaults: {", "defaults: {config: {threshold: 0.3}, ")
    fleet.edit("confirm_timeout: 30s", "confirm_timeout: 8s")
    status = fleet.interrupt(after, with_signal, "rollout", "--yes")
    boards = fleet.settle(["luxor-01", "luxor-02", "karnak-01"], seconds=30)

    assert status in (0, 130, 143, -signal.SIGKILL)
    assert {"running"} == {board["service"] for board in boards.values()}
    assert all(board["loaded"] == board["current"] for board in boards.values())
    fleet.must("rollout", "--yes")
    fleet.must("plan")


def until_journalled(fleet: QuadrantFleet, event: str) -> None:
    """Wait until the newest rollout has come to such an event."""
    give_up = time.monotonic() + 60
    while event not in (newest_journal(fleet.root / ".fleetctl") or Path(os.devnull)).read_text():
        assert time.monotonic() < give_up, event
        time.sleep(0.05)


def kill_while_it_watches(fleet: QuadrantFleet, transport: str) -> None:
    """Begin a rollout of something new, and end it by SIGKILL as soon as it watches the canary."""
    assert fleet.run("rollout", "--yes", transport=transport).status == 0
    fleet.edit("defaults: {", "defaults: {config: {threads: 2}, ")
    fleet.edit("{group: canary}", "{group: canary, soak: 12s}")
    with fleet.start("rollout", "--yes", transport=transport) as rollout:
        try:
            until_journalled(fleet, "SoakStarted")
        finally:
            rollout.kill()
            rollout.communicate()


def test_a_soak_that_was_cut_short_is_not_forgotten(tmp_path: Path) -> None:
    """Killed while it watches the canary, and run again, it watches for the rest before the others follow."""
    fleet = QuadrantFleet.make(tmp_path / "fleet")
    kill_while_it_watches(fleet, "fake")
    began = time.monotonic()
    done = fleet.run("rollout", "--yes", transport="fake")
    took = time.monotonic() - began

    assert done.status == 0, done.err
    assert "wave 1 (canary): 1 board of an earlier rollout" in done.err
    assert done.err.index("watching for another ") < done.err.index("gate of wave 1: open")
    assert done.err.index("gate of wave 1: open") < done.err.index("wave 2 (100 %): 2 boards")
    assert 5 < took < 60


def test_a_canary_that_stops_in_the_rest_of_its_soak_keeps_the_others_waiting(fleet: QuadrantFleet) -> None:
    """Its service is killed while the second rollout watches it: exit 42, what to do, and it recovers."""
    kill_while_it_watches(fleet, "lab")
    before = {name: board["loaded"] for name, board in fleet.boards().items()}
    with fleet.start("rollout", "--yes") as rollout:
        try:
            until_journalled(fleet, "SoakResumed")
            board = fleet.root / ".fleetctl/lab/boards/luxor-01/opt/fleetctl"
            os.kill(int((board / "state/serve.pid").read_text().split()[0]), signal.SIGKILL)
        finally:
            out, err = rollout.communicate(timeout=120)
    paused, after = Said(rollout.returncode, out, err), fleet.boards()

    assert paused.status == 42, paused.err
    assert "luxor-01, released by an earlier rollout, fell over while being watched" in paused.err
    assert "`fleetctl rollback --on luxor-01`" in paused.err
    assert ("stopped", before["luxor-01"]) == (after["luxor-01"]["service"], after["luxor-01"]["current"])
    assert [before[n] for n in ("luxor-02", "karnak-01")] == [
        after[n]["loaded"] for n in ("luxor-02", "karnak-01")
    ]

    fleet.edit("soak: 12s", "soak: 1s")
    fleet.must("rollout", "--yes")
    fleet.must("status")


def test_ansible_ends_with_the_fleetctl_that_started_it(fleet: QuadrantFleet) -> None:
    """A controller that is killed alone leaves nobody behind who would confirm in its name."""
    fleet.must("rollout", "--yes")
    before = fleet.boards()["luxor-01"]["loaded"]
    fleet.edit("defaults: {", "defaults: {config: {threshold: 0.3}, ")
    fleet.edit("confirm_timeout: 30s", "confirm_timeout: 8s")
    rollout = fleet.start("rollout", "--yes")
    while not any(is_activating(pid) for pid in descendants(rollout.pid)):
        assert rollout.poll() is None, rollout.communicate()
    started = list(descendants(rollout.pid))
    rollout.kill()
    rollout.communicate()

    time.sleep(1)  # a dead controller is noticed by then
    after = fleet.settle(["luxor-01"], seconds=60)["luxor-01"]
    assert (before, "running") == (after["loaded"], after["service"])
    give_up = time.monotonic() + 30  # ssh keeps a connection for ten seconds
    while left := [pid for pid in started if is_alive(pid)]:
        assert time.monotonic() < give_up, left
        time.sleep(0.1)


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and no corpse that its new parent has yet to bury."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def is_activating(pid: int) -> bool:
    """Whether this is an ssh client that has a board activate a release."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_text()
        return words.startswith("ssh") and " activate " in words
    return False


def test_a_board_without_power_is_deferred_and_joins_later(fleet: QuadrantFleet) -> None:
    """A power cut defers a board; when it is back, the same command brings it up to date."""
    fleet.must("lab", "stop", "karnak-01")
    away = fleet.run("rollout", "--yes")

    assert away.status == 0, away.err
    assert "karnak-01  deferred" in away.out
    assert fleet.run("status").status == 1

    fleet.must("lab", "start", "karnak-01")
    fleet.must("rollout", "--yes")
    fleet.must("status")


def test_another_host_key_is_refused(fleet: QuadrantFleet) -> None:
    """A key that is not the one in known_hosts stops the rollout: exit 31, and the command to accept it."""
    known = fleet.root / ".fleetctl" / "lab" / "known_hosts"
    lines = known.read_text().splitlines()
    known.write_text("\n".join(lines[1:]) + "\n")
    unknown = fleet.run("rollout", "--yes")

    assert unknown.status == 31
    assert "ssh-keyscan" in unknown.err
    assert "nothing was changed" in unknown.err

    names = [line.split()[0] for line in lines]
    keys = [line.split(" ", 1)[1] for line in lines]
    known.write_text("".join(f"{name} {key}\n" for name, key in zip(names, keys[1:] + keys[:1], strict=True)))
    changed = fleet.run("rollout", "--yes")

    assert changed.status == 31
    assert "ssh-keygen -R" in changed.err
