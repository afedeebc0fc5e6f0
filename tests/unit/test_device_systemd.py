"""Boards whose service systemd keeps: the same promises, with units installed and taken away.

The `systemctl` of tests/cases/device really runs what the units say, from what it last reloaded.
"""

import hashlib
import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_board import DEVICE, MODELS, TinyBoard, TinyRelease, powered, tiny_release

from fleetctl.device.environment import environment_name
from fleetctl.device.layout import Board
from fleetctl.device.locks import is_flocked
from fleetctl.device.repaired import demand_proof
from fleetctl.store import sha256

UNIT = "fleetctl-serve.service"
# Whoever has it do what stands in the file `deadly` dies of that, and next of installing a unit.
SYSTEMCTL = f"""{sys.executable} -S {MODELS / "systemctl.py"} "$@"; status=$?
if grep -qx -e "$1" "$UNITS/deadly" 2> /dev/null; then echo --no-reload > "$UNITS/deadly"; kill -9 $PPID; fi
exit $status"""


@pytest.fixture
def board(tmp_path: Path) -> Iterator[TinyBoard]:
    with powered(tmp_path / "root") as board:
        board.units.mkdir()
        tools = tmp_path / "tools"
        tools.mkdir()
        tool(tools / "systemctl", SYSTEMCTL)
        tool(tools / "journalctl", 'exec tail -n "$4" "$UNITS/journal"')
        board.environment = {"PATH": f"{tools}:{os.environ['PATH']}", "UNITS": str(board.units)}
        yield board


def tool(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def systemd_release(board: TinyBoard, remark: str = "first", **config: Any) -> TinyRelease:
    """A release with a unit; `recover` comes before every start, as on a real board."""
    release = tiny_release(board.port, **config)
    python, current = board.python, board.root / "current"
    unit = f"""[Unit]
Description={remark}

[Service]
ExecStartPre={python} {DEVICE / "activate.py"} recover --root {board.root} --before-start
ExecStart={python} {current}/runtime/serve.py --release {current}
"""
    return release.with_json("config/service.json", manager="systemd").with_file(
        f"unit/{UNIT}", unit.encode()
    )


def calls(board: TinyBoard) -> list[str]:
    """The words given to systemctl since the last look."""
    path = board.units / "calls"
    words = [word for word in path.read_text().split() if word != "show"]
    path.write_text("")
    return words


def test_a_unit_is_installed_when_it_changed(board: TinyBoard) -> None:
    """The first release installs its unit, one with the same unit only restarts, a changed one reloads."""
    board.install(systemd_release(board))
    assert (board.units / UNIT).read_bytes() == systemd_release(board).files[f"unit/{UNIT}"]
    assert calls(board) == ["enable", "daemon-reload", "restart"]
    board.install(systemd_release(board, threshold=0.9))
    assert calls(board) == ["reset-failed", "restart"]
    board.install(systemd_release(board, "second", threshold=0.9))
    assert calls(board) == ["enable", "daemon-reload", "reset-failed", "restart"]
    assert board.serves() == systemd_release(board, "second", threshold=0.9).digest


def test_a_unit_that_was_installed_and_not_loaded_is_loaded(board: TinyBoard) -> None:
    """Cut short between the two, a board had the unit on disk, and systemd would have run the one before."""
    board.install(systemd_release(board))
    (board.units / UNIT).write_bytes(systemd_release(board, "second").files[f"unit/{UNIT}"])
    calls(board)
    board.install(systemd_release(board, "second", threshold=0.9))
    assert calls(board) == ["enable", "daemon-reload", "reset-failed", "restart"]


def test_a_way_back_is_not_taken_with_the_unit_that_was_left(board: TinyBoard) -> None:
    """The trial dies when its unit is loaded, its watcher when that of before is on disk: that is loaded."""
    good = systemd_release(board)
    board.install(good)
    (board.units / "deadly").write_text("daemon-reload")
    assert board.activate(systemd_release(board, "second")) == {}
    while is_flocked(str(board.root / "state" / "watch.lock")):
        time.sleep(0.01)
    assert (board.units / UNIT).read_bytes() == good.files[f"unit/{UNIT}"]
    (board.units / "deadly").unlink()
    os.kill(board.healthz()["pid"], signal.SIGKILL)
    assert board.ask("recover")["state"] == "reverted"
    assert (board.units / "loaded" / UNIT).read_bytes() == good.files[f"unit/{UNIT}"]
    assert board.serves() == good.digest


def test_an_edited_unit_is_told_and_put_right(board: TinyBoard) -> None:
    """Since when and by whom is said; the same release again installs its unit anew, and proves itself."""
    release = systemd_release(board)
    board.install(release)
    assert {} == board.ask("observe", {})["units"]
    calls(board)
    unit = board.units / UNIT
    unit.write_text(unit.read_text() + "Nice=19\n")
    os.utime(unit, (1767225600, 1767225600))
    owner = pwd.getpwuid(os.getuid()).pw_name
    edited = {"sha256": hashlib.sha256(unit.read_bytes()).hexdigest(), "since": "2026-01-01T00:00:00Z"}
    assert {str(unit): {**edited, "by": owner}} == board.ask("observe", {})["units"]

    board.install(release)
    assert ["enable", "daemon-reload", "reset-failed", "restart"] == calls(board)
    assert {} == board.ask("observe", {})["units"]
    assert board.activate(release)["state"] == "unchanged"

    unit.unlink()
    told = board.ask("observe", {})["units"][str(unit)]
    assert (None, None) == (told["sha256"], told["by"])
    unit.symlink_to("/dev/null")  # masked
    assert hashlib.sha256().hexdigest() == board.ask("observe", {})["units"][str(unit)]["sha256"]
    unit.unlink()
    board.install(release)
    assert {} == board.ask("observe", {})["units"]


def test_a_drop_in_is_told_and_left_alone(board: TinyBoard) -> None:
    """What lies over the unit is said by name; a rollout does not take away what others put there."""
    release = systemd_release(board)
    board.install(release)
    folder = board.units / f"{UNIT}.d"
    folder.mkdir()
    (folder / "10-quiet.conf").write_text("[Service]\nLogLevelMax=err\n")
    (folder / "README").write_text("not a drop-in\n")
    assert [str(folder / "10-quiet.conf")] == list(board.ask("observe", {})["units"])
    assert board.activate(release)["state"] == "unchanged"
    assert (folder / "10-quiet.conf").exists()


def test_a_failed_start_brings_back_release_and_unit(board: TinyBoard) -> None:
    """The journal's last words are the reason, and the unit of the release before is installed again."""
    good = systemd_release(board)
    board.install(good)
    bad = systemd_release(board, "second").with_file("model/model.tflite", b"junk")
    reply = board.activate(bad)
    assert reply["state"] == "reverted"
    assert "systemd says failed" in reply["receipt"]["reasons"][0]
    assert "the model does not load" in reply["receipt"]["reasons"][0]
    assert (board.units / UNIT).read_bytes() == good.files[f"unit/{UNIT}"]
    assert board.serves() == good.digest


def test_a_boot_in_the_midst_of_a_trial_brings_back_the_unit_too(board: TinyBoard) -> None:
    """systemd starts the old release by the new unit, which lies there; the next verb puts it right."""
    good = systemd_release(board)
    board.install(good)
    assert board.activate(systemd_release(board, "second"))["state"] == "pending"
    board.cut_power()
    subprocess.run(["systemctl", "restart", UNIT], env={**os.environ, **board.environment}, check=True)
    give_up = time.monotonic() + 10
    while board.serves() != good.digest:
        assert time.monotonic() < give_up
    assert board.ask("recover")["state"] == "reverted"
    assert (board.units / UNIT).read_bytes() == good.files[f"unit/{UNIT}"]
    assert board.ask("observe")["units"] == {}
    assert board.serves() == good.digest


def test_the_first_unit_goes_with_its_release(board: TinyBoard) -> None:
    """A first release that fails leaves no unit behind."""
    bad = systemd_release(board).with_file("model/model.tflite", b"junk")
    assert board.activate(bad)["state"] == "reverted"
    assert not (board.units / UNIT).exists()
    assert calls(board)[-3:] == ["stop", "disable", "daemon-reload"]


def test_a_foreign_unit_comes_back(board: TinyBoard) -> None:
    """A unit of the same name that was there before us is in the snapshot, and runs again when we fail."""
    foreign = "[Service]\nExecStart=/bin/sleep 60\n"
    (board.units / UNIT).write_text(foreign)
    (board.units / UNIT).chmod(0o600)  # it may hold a token
    bad = systemd_release(board).with_file("model/model.tflite", b"junk")
    assert board.activate(bad)["state"] == "reverted"
    assert (board.units / UNIT).read_text() == foreign
    assert (board.units / UNIT).stat().st_mode & 0o777 == 0o600
    assert calls(board)[-2:] == ["daemon-reload", "restart"]
    os.kill(int((board.units / f"{UNIT}.pid").read_text()), 9)
    (snapshot,) = (board.root / "snapshot").glob("*.tar")
    kept = (snapshot, snapshot.parent, board.root / "state" / "adopted.json")
    assert [0o600, 0o700, 0o600] == [path.stat().st_mode & 0o777 for path in kept]


def test_leaving_one_manager_for_the_other(board: TinyBoard) -> None:
    """A board that changes from a plain process to systemd, or back by failing, never runs two services."""
    plain = tiny_release(board.port)
    board.install(plain)
    assert (
        board.activate(systemd_release(board).with_file("model/model.tflite", b"junk"))["state"] == "reverted"
    )
    assert board.serves() == plain.digest
    assert not (board.units / UNIT).exists()
    pid = board.healthz()["pid"]
    board.install(systemd_release(board))
    assert board.serves() == systemd_release(board).digest
    assert pid not in board.processes()


def test_a_trial_under_another_manager_ends_before_the_next(board: TinyBoard) -> None:
    """The service of a release on probation is none that the one before it knows how to stop."""
    plain = tiny_release(board.port)
    board.install(plain)
    assert board.activate(systemd_release(board))["state"] == "pending"
    other = plain.with_json("config/serve.json", threshold=0.9)
    reply = board.activate(other)
    assert (reply["state"], reply["receipt"]["previous"]) == ("pending", plain.digest)
    assert not (board.units / UNIT).exists()
    assert board.serves() == other.digest
    assert board.ask("revert", {})["current"] == board.serves() == plain.digest


def test_no_systemd_is_said_plainly(board: TinyBoard) -> None:
    """On a board without systemctl the manifest has to say `service: process`."""
    board.environment = {"PATH": "/nonexistent"}
    reply = board.activate(systemd_release(board))
    assert reply["code"] == "no-systemd"
    assert reply["error"] == "this board has no systemctl; the manifest can say `service: process`"
    assert board.current is None


@pytest.fixture
def changed(board: TinyBoard) -> TinyBoard:
    """A board whose interpreter was changed since its release was proved."""
    folders = [f"environments/{digit * 16}" for digit in "ab"]
    for folder in folders:
        (board.root / folder / "bin").mkdir(parents=True)
        (board.root / folder / "bin" / "python").symlink_to(sys.executable)
    release = systemd_release(board)
    board.install(release)
    demand_proof(Board(str(board.root)), release.digest, folders[0])
    (board.root / "venv").symlink_to(folders[1])
    return board


def environment_at_start(board: TinyBoard) -> str:
    """Which one the service is started with, as its unit has it."""
    assert board.ask("recover", options=["--before-start"])["state"] == "clean"
    return (board.root / "venv").readlink().name[0]


def test_a_service_that_keeps_dying_has_the_interpreter_it_was_proved_with(changed: TinyBoard) -> None:
    """Once may be for any reason; what was changed is proved by the next rollout, or goes back by itself."""
    for restarts, environment in (("0", "b"), ("1", "b"), ("2", "a")):
        (changed.units / "restarts").write_text(restarts)
        assert environment == environment_at_start(changed)
    assert changed.ask("observe")["repaired"] is True


def test_deaths_before_a_bootstrap_are_not_held_against_what_it_brought(board: TinyBoard) -> None:
    """systemd counts since somebody started the service by hand, which may be long ago."""
    wheels = {"toy-1.0-py3-none-any.whl": sha256(b"toy")}
    brought = environment_name(wheels)
    for name in ("a" * 16, brought):
        (board.root / "environments" / name / "bin").mkdir(parents=True)
        (board.root / "environments" / name / "bin" / "python").symlink_to(sys.executable)
    record = {"wheels": wheels, "python": list(sys.version_info[:3])}
    (board.root / "environments" / brought / "fleetctl.json").write_text(json.dumps(record))
    (board.root / "venv").symlink_to(f"environments/{'a' * 16}")
    board.install(systemd_release(board))
    (board.units / "restarts").write_text("2")
    asked = {"user": "", "udev": False, "wheels": {name: [of, 3] for name, of in wheels.items()}}
    assert board.ask("prepare", asked)["changed"][0] == "python environment"

    assert brought[0] == environment_at_start(board)
    (board.units / "restarts").write_text("2")
    assert "a" == environment_at_start(board)


def test_a_service_without_an_interpreter_has_the_one_it_was_proved_with(changed: TinyBoard) -> None:
    """It is gone, as after half of a system's upgrade: nothing is waited for."""
    (changed.root / "venv" / "bin" / "python").unlink()
    assert "a" == environment_at_start(changed)


def test_a_service_that_was_proved_stays_with_its_interpreter(changed: TinyBoard) -> None:
    """However often it dies: there is nothing that it was proved with and left."""
    (changed.units / "restarts").write_text("9")
    (changed.root / "state" / "repaired").unlink()
    assert "b" == environment_at_start(changed)
