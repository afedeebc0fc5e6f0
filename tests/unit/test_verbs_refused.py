"""Rollouts that are stopped, before anything is touched or at the canary: exit codes, and what is said."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from another_user import as_another_user, nobody
from git_fleet import Fleetctl, GitFleet, faults
from step_outputs import outputs

from fleetctl.store import Lock


def test_a_bad_canary_is_exit_40(fleetctl: Fleetctl) -> None:
    """The error says what happened and what holds now; later waves are untouched."""
    said = fleetctl("rollout", "--yes", "--faults", faults(luxor_01="{bad_answers: 1.0}"))

    assert said.status == 40
    assert "error: rolled back: 1 board of the canary failed, 0 allowed" in said.err
    assert "its wave did not open" in said.out


def test_a_refused_board_stops_everything_before_it_starts(fleetctl: Fleetctl) -> None:
    """An unknown host key is exit 31, with nothing changed anywhere and a way to go on without the board."""
    said = fleetctl("rollout", "--yes", "--faults", faults(karnak_01="{refused: true}"))

    assert said.status == 31
    assert "karnak-01: simulated: the host key is not known; nothing was changed" in said.err
    assert "--on '!karnak-01'" in said.err
    assert "3 install" in fleetctl("plan").out


@pytest.mark.parametrize(
    ("fault", "status", "why"),
    [
        ("{refused: true}", 31, "karnak-01: simulated: the host key is not known; a rollout would refuse"),
        ("{fail_stage: observe}", 30, "simulated: this board fails at observe; a rollout would refuse"),
        ("{unreachable: true}", 1, ""),
    ],
)
def test_a_plan_is_not_green_while_a_board_is_out_of_reach(
    fleetctl: Fleetctl, fault: str, status: int, why: str
) -> None:
    """Though nothing else would change: it ends as the rollout would, or as `status` where that defers."""
    fleetctl("rollout", "--yes")
    said = fleetctl("plan", "--faults", faults(karnak_01=fault))

    assert status == said.status
    assert why in said.err
    assert "2 boards already do what git says; 1 board " in said.out


def test_a_step_of_a_workflow_counts_the_boards_in_its_way(
    fleetctl: Fleetctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside whether anything would change: a board that refuses us is told from one that has changed."""
    fleetctl("rollout", "--yes")
    told = tmp_path / "outputs"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_OUTPUT", str(told))
    fleetctl("plan", "--faults", faults(karnak_01="{refused: true}"))

    assert {"changes": "false", "refused": "0", "blocked": "1"}.items() <= outputs(told.read_text()).items()


def test_a_rehearsal_with_a_board_that_is_none_is_refused(fleetctl: Fleetctl) -> None:
    """Exit 10 with the board that was meant, and nothing is rolled out; boards outside of --on are known."""
    said = fleetctl("rollout", "--yes", "--faults", faults(karnak_1="{unreachable: true}"))
    other = fleetctl("rollout", "--yes", "--on", "luxor-01", "--faults", faults(karnak_01="{hot: true}"))

    assert (10, "") == (said.status, said.out)
    assert "unknown board `karnak-1`; did you mean `karnak-01`?" in said.err
    assert 0 == other.status


def test_a_saved_plan_is_done_or_refused(fleetctl: Fleetctl) -> None:
    """What was reviewed is what happens; once a board has changed, the plan is stale: exit 11."""
    fleetctl("plan", "--save", "plan.json")

    assert fleetctl("rollout", "--yes", "--plan", "plan.json").status == 0
    stale = fleetctl("rollout", "--yes", "--plan", "plan.json")
    assert stale.status == 11
    assert "the saved plan no longer holds for luxor-01, luxor-02, karnak-01" in stale.err


@as_another_user
@pytest.mark.parametrize("line", ["history", "report --rollout"])
def test_what_somebody_else_keeps_to_himself_is_named(fleet: GitFleet, fleetctl: Fleetctl, line: str) -> None:
    """A rollout as root with a strict umask leaves a `.fleetctl` that others may not read."""
    (fleet.root / ".fleetctl" / "fake").mkdir(parents=True, exist_ok=True)
    fleetctl("history")  # whose modules this user may read
    (fleet.root / ".fleetctl").chmod(0)
    with nobody(fleet.root.parent):
        said = fleetctl(*line.split())

    (fleet.root / ".fleetctl").chmod(0o755)
    assert (70, "") == (said.status, said.out)
    assert said.err.startswith(f"error: {fleet.root}/.fleetctl/")
    assert ": Permission denied\nhint: work as whoever it belongs to" in said.err


@pytest.mark.parametrize("line", ["status", "lab status"])
def test_what_lies_in_the_way_of_our_files_is_named(fleet: GitFleet, fleetctl: Fleetctl, line: str) -> None:
    """A file called `.fleetctl` is the user's to move, and no fault of fleetctl's own."""
    shutil.rmtree(fleet.root / ".fleetctl")
    (fleet.root / ".fleetctl").write_text("")
    said = fleetctl(*line.split())

    assert (70, "") == (said.status, said.out)
    assert ": Not a directory\nhint: something else lies where fleetctl keeps files of its own" in said.err


def test_a_link_to_itself_among_our_files_is_named(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """It is in the way of the record of a simulated board."""
    records = fleet.root / ".fleetctl" / "fake"
    records.mkdir(parents=True, exist_ok=True)
    record = records / "luxor-01.json"
    record.unlink(missing_ok=True)
    record.symlink_to(record.name)
    said = fleetctl("status")

    assert (70, "") == (said.status, said.out)
    assert f"{record}: Too many levels of symbolic links\nhint: something else lies" in said.err


@as_another_user
def test_a_manifest_that_may_not_be_read_is_a_problem_of_the_manifest(
    fleet: GitFleet, fleetctl: Fleetctl
) -> None:
    """Exit 10, in JSON too, as for anything else that is wrong with it."""
    fleetctl("validate", "-o", "json", "-f", str(fleet.manifest))
    fleet.manifest.chmod(0)
    with nobody(fleet.root.parent):
        said = fleetctl("validate", "-o", "json", "-f", str(fleet.manifest))

    assert 10 == said.status
    assert ["cannot be read: Permission denied"] == [each["what"] for each in said.json["problems"]]


def test_an_error_about_many_boards_names_a_few(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """Thousands of names would push what is wrong out of sight; the table has them all."""
    more = "".join(f"  gizeh-{n}: {{board: generic, model: toy, host: 192.0.2.{n}}}\n" for n in range(10, 14))
    fleet.edit("boards:\n  luxor-01", f"boards:\n{more}  luxor-01")
    said = fleetctl("rollback", "--yes")

    assert 41 == said.status
    assert "error: not rolled back: gizeh-10, gizeh-11, gizeh-12, gizeh-13, luxor-01 and 2 more\n" in said.err
    assert "karnak-01  failed" in said.out


def test_a_plan_of_other_boards_is_not_blamed_on_a_change_alone(fleetctl: Fleetctl) -> None:
    """Who plans the fleet and rolls out a part of it has changed no manifest, and no board has changed."""
    fleetctl("plan", "--save", "plan.json")
    said = fleetctl("rollout", "--yes", "--plan", "plan.json", "--on", "luxor-01")

    assert 11 == said.status
    assert "the boards or the selection changed" in said.err


NO_PLANS = {
    "": "not JSON",
    "[]": "expected an object",
    "{}": "'schema' is missing",
    '{"schema": "fleetctl.plan/v2"}': "schema: expected 'fleetctl.plan/v1'",
    '{"schema": "fleetctl.plan/v1", "fleet": "f", "waves": [{}]}': "missing required field `number`",
    "\x00": "not JSON",
    "[" * 100_000: "nested too deeply",
}


@pytest.mark.parametrize("content", NO_PLANS, ids=range(len(NO_PLANS)))
def test_what_is_no_plan_is_refused(fleetctl: Fleetctl, content: str) -> None:
    """A file that `plan --save` did not write is a usage error that says why, whatever is in it."""
    Path("plan.json").write_text(content)
    said = fleetctl("rollout", "--yes", "--plan", "plan.json")

    assert said.status == 2
    assert "plan.json is not a saved plan: " in said.err
    assert NO_PLANS[content] in said.err


def test_nobody_is_asked_without_a_terminal(fleetctl: Fleetctl) -> None:
    """In a pipeline, a rollout without --yes stops and says so."""
    done = subprocess.run(
        [sys.executable, "-m", "fleetctl", "rollout"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "say --yes" in done.stderr
    assert "3 install" in fleetctl("plan").out


def test_an_interrupt_at_a_question_is_no_answer(fleetctl: Fleetctl) -> None:
    """Ctrl-C is exit 130 there too, no and Ctrl-D are 1; what is said of it has a line of its own."""
    del fleetctl
    aborted = b"\r\nAborted!\r\n"
    assert (130, aborted) == asked(lambda process, _: process.send_signal(signal.SIGINT))
    assert (1, b"n" + aborted) == asked(lambda _, terminal: os.write(terminal, b"n\n"))
    assert (1, aborted) == asked(lambda _, terminal: os.write(terminal, b"\x04"))


def asked(answer: Callable[["subprocess.Popen[bytes]", int], object]) -> tuple[int, bytes]:
    """How a rollout ends whose question is answered so, and what stands behind the question."""
    terminal, side = pty.openpty()
    argv = [sys.executable, "-m", "fleetctl", "rollout"]
    with subprocess.Popen(argv, stdin=side, stdout=subprocess.DEVNULL, stderr=side) as process:
        os.close(side)
        said = b""
        while b"[y/N]:" not in said:
            said += os.read(terminal, 1000)
        answer(process, terminal)
        process.wait(60)
    said += os.read(terminal, 1000)
    os.close(terminal)
    return process.returncode, said.partition(b"[y/N]:")[2].lstrip(b" ")


def test_two_controllers_take_turns(fleetctl: Fleetctl) -> None:
    """While one rollout runs another is refused, and told who runs it: exit 50."""
    with Lock(Path(".fleetctl/lock"), "rollout of unas"):
        said = fleetctl("rollout", "--yes")

    assert said.status == 50
    assert "rollout of unas" in said.err


def test_a_stale_lock_is_exit_11(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """A manifest that asks for another model than was built says what to run; status still answers."""
    fleetctl("rollout", "--yes")
    fleet.edit("path: photos}", "path: photos, seed: 7}")
    said, status = fleetctl("plan"), fleetctl("status")

    assert said.status == 11
    assert "fleetctl build" in said.err
    assert status.status == 1
    assert "luxor-01" in status.out


def test_a_tampered_blob_is_found_before_anything_is_sent(fleetctl: Fleetctl) -> None:
    """Altered bytes in the store stop the rollout: no board hears of it."""
    lock = json.loads(Path("model_artifacts/fleet.lock").read_text())
    digest = lock["models"]["toy"]["variants"]["int8"]["files"]["model.tflite"]["sha256"]
    blob = Path("model_artifacts/store/sha256", digest)
    blob.chmod(0o644)
    blob.write_bytes(b"evil")
    said = fleetctl("rollout", "--yes")

    assert said.status == 20
    assert "altered" in said.err
    assert "3 install" in fleetctl("plan").out


def test_a_shard_s_results_lie_in_a_folder(fleetctl: Fleetctl) -> None:
    """A file in its place is a slip of the hand, and no board to see to."""
    Path("report.html").write_text("no folder")
    said = fleetctl("rollout", "--wave", "1", "--join", "report.html")

    assert (2, True) == (said.status, "report.html is no folder" in said.err)


def test_faults_need_simulated_boards(fleetctl: Fleetctl) -> None:
    """Real boards bring their own faults."""
    said = fleetctl("plan", "--transport", "lab", "--faults", faults(luxor_01="{hot: true}"))

    assert said.status == 2


@pytest.mark.parametrize("line", ["bootstrap", "leave --yes", "exec --yes -- true"])
def test_simulated_boards_have_no_ssh(fleetctl: Fleetctl, line: str) -> None:
    """What needs it says so, and where there are boards that have."""
    said = fleetctl(*line.split())

    assert (2, True) == (said.status, said.err.startswith("error: fake boards ")), said.err
    assert "hint: use --transport lab" in said.err
