"""Streams that are closed at the other end: what was begun is done, and the exit code says how it ended."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import hangup
import pytest
from git_fleet import Fleetctl, GitFleet, faults
from published import published


@pytest.mark.parametrize("output", ["table", "json", "markdown"])
def test_a_result_that_nobody_reads_ends_as_ever(fleetctl: Fleetctl, output: str) -> None:
    """Behind `| head -1` a rollback is exit 40, with its sentence, and no word about the pipe."""
    before = fleetctl("plan")
    words = ["rollout", "--yes", "-o", output, "--faults", faults(luxor_01="{bad_answers: 1.0}")]
    argv = [sys.executable, "-m", "fleetctl", *words]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        if output == "table":
            while "boards would change" not in process.stdout.readline():
                pass  # the plan comes before anything is done
        process.stdout.close()
        err = process.stderr.read()

    assert (1, 40) == (before.status, process.returncode), err
    assert "error: rolled back: 1 board of the canary failed" in err
    assert "pipe" not in err.lower()


def test_a_rollout_that_nobody_listens_to_goes_on(fleetctl: Fleetctl) -> None:
    """Behind `2>&1 >verdicts | head -1`, every board gets its release, and the exit says so."""
    argv = [sys.executable, "-m", "fleetctl", "rollout", "--yes", "-o", "json"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        while "wave 1" not in process.stderr.readline():
            pass
        process.stderr.close()
        verdicts = published(process.stdout.read())["counts"]

    assert (0, 3) == (process.returncode, verdicts["verified"])
    assert 0 == fleetctl("status").status


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk here is full on demand")
@pytest.mark.parametrize("output", ["table", "json"])
def test_a_log_on_a_full_disk_stops_no_rollout(fleetctl: Fleetctl, output: str) -> None:
    """Behind `2>/var/log/rollout`, boards get their releases, and the exit says how it ended."""
    with Path("/dev/full").open("w") as full:
        status, refused = (
            subprocess.run(
                [sys.executable, "-m", "fleetctl", *words, "-o", output], stdout=-1, stderr=full, check=False
            ).returncode
            for words in (["rollout", "--yes"], ["status", "--on", "nobody"])
        )

    assert (0, 2) == (status, refused)
    assert 0 == fleetctl("status").status


def test_a_rollback_that_nobody_reads_is_done(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """Boards went back, so the exit is 0."""
    fleetctl("rollout", "--yes")
    fleet.edit("threshold: 0.6", "threshold: 0.7")
    fleetctl("rollout", "--yes")
    argv = [sys.executable, "-m", "fleetctl", "rollback", "--yes", "--on", "karnak-01"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        err = process.stderr.read()

    assert (0, True) == (process.returncode, "✓ karnak-01: rolled back" in err), err


@pytest.mark.parametrize("verb", ["plan", "status", "validate", "manual", "--help", "plan --help"])
def test_a_page_that_nobody_reads_finds_no_difference(fleetctl: Fleetctl, verb: str) -> None:
    """Behind a pipe that is closed the exit is that of the signal: 1 would be something that was found."""
    fleetctl("rollout", "--yes")
    argv = [sys.executable, "-m", "fleetctl", *verb.split()]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "CI": "1"}
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        err = process.stderr.read()

    assert (128 + signal.SIGPIPE, "") == (process.returncode, err)


@pytest.mark.parametrize("kept", [False, True])
def test_a_rollout_ends_with_its_terminal_unless_it_is_to_outlive_it(fleet: GitFleet, kept: bool) -> None:
    """Where an ssh connection drops, what was begun is ended in order; under `nohup` it goes on."""
    fleet.edit("{group: canary}", "{group: canary, soak: 2s}")
    argv = [*(["nohup"] if kept else hangup.NOTICED), sys.executable, "-m", "fleetctl", "rollout", "--yes"]
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "FLEETCTL_TRANSPORT": "fake"},
    ) as process:
        assert process.stderr
        while "watching for" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGHUP)
        _, err = process.communicate(timeout=60)

    assert (0 if kept else 128 + signal.SIGHUP) == process.returncode, err
    assert kept != ("! interrupted: " in err)


def test_a_rollback_that_is_interrupted_says_how_to_go_on(fleetctl: Fleetctl) -> None:
    """Some boards went back and others did not: whoever presses Ctrl-C is told how to find out."""
    fleetctl("rollout", "--yes")
    board = Path(".fleetctl/fake/luxor-01.json")
    board.unlink()
    os.mkfifo(board)  # which nobody writes into: the board never answers
    argv = [sys.executable, "-m", "fleetctl", "rollback", "--yes"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        audit = Path(".fleetctl/audit.jsonl")
        while not (audit.exists() and "begun" in audit.read_text()):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)

    said = "! interrupted: `fleetctl status` says which boards went back; run this again to go on\n"
    assert (130, "", said) == (process.returncode, out, err)
    assert "cut short" in audit.read_text()


def test_a_remedy_that_is_interrupted_says_how_to_look(fleetctl: Fleetctl) -> None:
    """What was asked of the board may yet happen: who presses Ctrl-C is told what says so."""
    fleetctl("rollout", "--yes")
    board = Path(".fleetctl/fake/luxor-01.json")
    board.unlink()
    os.mkfifo(board)  # which nobody writes into: the board never answers
    argv = [sys.executable, "-m", "fleetctl", "doctor", "luxor-01", "--remedy", "restart-service", "--yes"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while "doctor of luxor-01" not in Path(".fleetctl/lock").read_text():
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)

    said = "! interrupted: `fleetctl doctor luxor-01` says how the board is\n"
    assert (130, "", said) == (process.returncode, out, err)
