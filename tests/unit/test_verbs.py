"""The verbs that talk to boards, on simulated ones: results, talk, exit codes, and what JSON they print."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from published import published
from toy_build import ToyStages, toy_photos

from fleetctl.build.builder import build
from fleetctl.cli import VERBS, main
from fleetctl.manifest.loader import load
from fleetctl.project import Project
from fleetctl.store import Lock

MANIFEST = """\
apiVersion: fleetctl/v1
kind: Fleet
metadata: {name: unas}
models:
  toy:
    task: classification
    dataset: {kind: folder, path: photos}
    variants: [int8]
    smoke: {samples: 6}
groups:
  canary: {boards: [luxor-01]}
  karnak: {match: {site: karnak}, config: {threshold: 0.6}}
boards:
  luxor-01: {board: raspberrypi4, model: toy, host: 192.0.2.1, labels: {site: luxor}}
  luxor-02: {board: raspberrypi4, model: toy, host: 192.0.2.2, labels: {site: luxor}}
  karnak-01: {board: raspberrypi5, model: toy, host: 192.0.2.3, labels: {site: karnak}}
rollout:
  waves: [{group: canary}, {percent: 100}]
"""


@dataclass(frozen=True)
class Said:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return published(self.out)


Fleetctl = Callable[..., Said]


@pytest.fixture
def fleetctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Fleetctl:
    """Runs a command line in a built fleet whose boards are simulated."""
    manifest = tmp_path / "inventory" / "fleet.yaml"
    toy_photos(manifest.parent)
    manifest.write_text(MANIFEST)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLEETCTL_TRANSPORT", "fake")
    build(load(manifest), Project(manifest), stages=ToyStages())

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        status = main(arguments)
        captured = capsys.readouterr()
        return Said(status, captured.out, captured.err)

    return run


def edit(old: str, new: str) -> None:
    """Change the manifest as a pull request would."""
    manifest = Path("inventory/fleet.yaml")
    text = manifest.read_text()
    assert text.count(old) == 1
    manifest.write_text(text.replace(old, new))


def faults(**boards: str) -> str:
    """A faults file; `_` stands for `-` in a board's name."""
    Path("faults.yaml").write_text("".join(f"{n.replace('_', '-')}: {f}\n" for n, f in boards.items()))
    return "faults.yaml"


def test_the_whole_story(fleetctl: Fleetctl) -> None:
    """Plan says what would change, rollout does it, and then plan, status and smoke have nothing to add."""
    planned = fleetctl("plan")
    rolled = fleetctl("rollout", "--yes")

    assert (planned.status, rolled.status) == (1, 0)
    assert "3 of 3 boards would change (3 install) in 2 waves" in planned.out
    assert [0, 0, 0] == [fleetctl(verb).status for verb in ("plan", "status", "smoke")]
    assert "nothing to do: 3 boards already do what git says" in fleetctl("rollout", "--yes").err


def test_smoke_writes_nothing_into_the_store(fleetctl: Fleetctl) -> None:
    """It only asks and judges, so it works where the store can only be read."""
    fleetctl("rollout", "--yes")
    store = Path("model_artifacts/store")
    edit("threshold: 0.6", "threshold: 0.7")  # what boards should run has files that no rollout made yet
    before = sorted(store.rglob("*"))
    said = fleetctl("smoke", "-o", "json").json["boards"]

    assert before == sorted(store.rglob("*"))
    assert {"luxor-01": "passed", "karnak-01": "failed"}.items() <= {
        b["board"]: b["outcome"] for b in said
    }.items()


def test_one_value_touches_the_boards_it_concerns(fleetctl: Fleetctl) -> None:
    """Changing a group's value plans exactly its boards, names the value, and sends no model."""
    fleetctl("rollout", "--yes")
    edit("threshold: 0.6", "threshold: 0.7")
    steps = {
        board["board"]: board
        for wave in fleetctl("plan", "-o", "json").json["waves"]
        for board in wave["boards"]
        if board["action"] != "nothing"
    }

    assert ["karnak-01"] == list(steps)
    assert ["threshold: 0.6 -> 0.7"] == steps["karnak-01"]["reasons"]
    assert steps["karnak-01"]["send_bytes"] < 1000


@pytest.mark.parametrize("line", ["bootstrap", "leave --yes", "exec --yes -- true"])
def test_simulated_boards_have_no_ssh(fleetctl: Fleetctl, line: str) -> None:
    """What needs it says so, and where there are boards that have."""
    said = fleetctl(*line.split())

    assert (2, True) == (said.status, said.err.startswith("error: fake boards ")), said.err
    assert "hint: use --transport lab" in said.err


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("pause", 2),
        ("resume", 2),
        ("abort --yes", 2),
        ("lab down", 0),
        ("lab status", 1),
        ("lab stop luxor-01", 2),
        ("lab start luxor-01", 2),
        ("artifacts pull models", 11),
    ],
)
def test_a_wrong_folder_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, status: int
) -> None:
    """Where no fleet is, nothing of ours is left behind."""
    monkeypatch.chdir(tmp_path)

    assert status == main(line.split())
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("private", "in_the_way"), [("file/key.pem", ""), ("new/key.pem", "inventory/trust")]
)
def test_a_key_is_made_whole_or_not_at_all(
    fleetctl: Fleetctl, tmp_path_factory: pytest.TempPathFactory, private: str, in_the_way: str
) -> None:
    """Where one half cannot be written, that is said, and the other is not there either."""
    place = tmp_path_factory.mktemp("private")
    (place / "file").write_text("no folder")
    if in_the_way:
        Path(in_the_way).write_text("no folder")
    said = fleetctl("keys", "new", "--private", str(place / private))

    assert (70, 1) == (said.status, said.err.count("error: cannot write "))
    assert [] == list(place.rglob("*.pem"))
    assert not Path("inventory/trust/release.pem").exists()


@pytest.mark.parametrize("line", ["validate", "status", "render luxor-01"])
def test_a_folder_that_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    """A shell may stand in one, such as that of a checkout made anew."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert 2 == main(line.split())
    assert "error: the folder that this runs in is not there any more" in capsys.readouterr().err


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


def test_a_rollback_that_nobody_reads_is_done(fleetctl: Fleetctl) -> None:
    """Boards went back, so the exit is 0."""
    fleetctl("rollout", "--yes")
    edit("threshold: 0.6", "threshold: 0.7")
    fleetctl("rollout", "--yes")
    argv = [sys.executable, "-m", "fleetctl", "rollback", "--yes", "--on", "karnak-01"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        err = process.stderr.read()

    assert (0, True) == (process.returncode, "✓ karnak-01: rolled back" in err), err


@pytest.mark.parametrize("verb", ["artifacts", "github", "keys", "lab", "lab iothub", "models"])
def test_a_verb_of_verbs_names_each_in_whole_sentences(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    """Its page cuts nothing short, and a misspelt verb is told what was meant."""
    main([*verb.split(), "--help"])
    page = capsys.readouterr().out.split("Verbs:\n")[1]
    first = page.split()[0]
    status = main([*verb.split(), f"{first}x"])

    assert (False, True) == ("..." in page, page.rstrip().endswith("."))
    assert (2, True) == (status, f"no verb '{first}x'; did you mean '{first}'?" in capsys.readouterr().err)


@pytest.mark.parametrize("content", ["", "junk", '{"event": "SoakStarted"}'])
def test_a_file_that_tells_of_no_rollout_is_no_report(fleetctl: Fleetctl, content: str) -> None:
    """Rather than a rollout of nothing that is not finished."""
    Path("else.txt").write_text(content)
    other, folder = fleetctl("report", "--journal", "else.txt"), fleetctl("report", "--journal", "inventory")

    assert (2, "") == (other.status, other.out)
    assert "error: else.txt tells of no rollout" in other.err
    assert "error: inventory is no file" in folder.err


def test_no_key_is_no_empty_table(fleetctl: Fleetctl) -> None:
    """It says how to make one."""
    said = fleetctl("keys", "show")

    assert (0, True) == (said.status, "`fleetctl keys new` makes one" in said.err)


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


def test_an_offline_board_is_deferred(fleetctl: Fleetctl) -> None:
    """The rest is rolled out and the exit is 0; status then says who is missing, with exit 1."""
    away = faults(karnak_01="{unreachable: true}")

    assert fleetctl("rollout", "--yes", "--faults", away).status == 0
    assert "2 of 3 boards healthy" in fleetctl("status", "--faults", away).out
    assert fleetctl("status", "--faults", away).status == 1


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


def test_two_controllers_take_turns(fleetctl: Fleetctl) -> None:
    """While one rollout runs another is refused, and told who runs it: exit 50."""
    with Lock(Path(".fleetctl/lock"), "rollout of unas"):
        said = fleetctl("rollout", "--yes")

    assert said.status == 50
    assert "rollout of unas" in said.err


def test_rollback_goes_back_by_name(fleetctl: Fleetctl) -> None:
    """A release that the boards ran before is found by the start of its digest."""
    fleetctl("rollout", "--yes")
    old = {r["board"]: r["release"] for r in fleetctl("history", "-o", "json").json["receipts"]}
    edit("threshold: 0.6", "threshold: 0.7")
    fleetctl("rollout", "--yes")
    said = fleetctl("rollback", "--yes", "--on", "karnak-01", "--to", old["karnak-01"][:10])
    statuses = {board["board"]: board for board in fleetctl("status", "-o", "json").json["boards"]}

    assert said.status == 0
    assert statuses["karnak-01"]["loaded"] == old["karnak-01"]
    assert statuses["karnak-01"]["troubles"] == ["runs another release than git says"]


def test_a_rollback_that_is_given_again_changes_nothing(fleetctl: Fleetctl) -> None:
    """One board was away the first time; the others do not return to what they just left."""
    fleetctl("rollout", "--yes")
    edit("threshold: 0.6", "threshold: 0.7")
    fleetctl("rollout", "--yes")
    first = fleetctl("rollback", "--yes", "--on", "karnak-01", "-o", "json")
    said = fleetctl("rollback", "--yes", "--on", "karnak-01", "-o", "json")

    assert (0, first.json) == (said.status, said.json)
    assert "karnak-01: went back before, and stays" in said.err


@pytest.mark.parametrize("prefix", ["abc", "xyzxyzxyz", "0123456789"])
def test_rollback_refuses_what_no_board_ran(fleetctl: Fleetctl, prefix: str) -> None:
    """A prefix that is too short, no digest, or unknown is refused before anything is touched."""
    fleetctl("rollout", "--yes")

    assert fleetctl("rollback", "--yes", "--on", "luxor-01", "--to", prefix).status == 2


def test_history_tells_each_activation_once(fleetctl: Fleetctl) -> None:
    """Proved and then confirmed is one line; the newest comes first."""
    fleetctl("rollout", "--yes")
    receipts = fleetctl("history", "--on", "luxor-01", "-o", "json").json["receipts"]

    assert [("passed", "confirmed")] == [(r["outcome"], r["state"]) for r in receipts]


def test_a_stale_lock_is_exit_11(fleetctl: Fleetctl) -> None:
    """A manifest that asks for another model than was built says what to run; status still answers."""
    fleetctl("rollout", "--yes")
    edit("path: photos}", "path: photos, seed: 7}")
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


@pytest.mark.parametrize("verb", ["plan", "status", "smoke", "history", "rollout"])
def test_json_names_its_schema_and_stands_alone(fleetctl: Fleetctl, verb: str) -> None:
    """With `--output json` standard output is one document that says which schema it follows."""
    fleetctl("rollout", "--yes")
    said = fleetctl(verb, "-o", "json", *(["--yes"] if verb == "rollout" else []))

    assert said.json["schema"] == f"fleetctl.{verb}/v1"


@pytest.mark.parametrize("verb", ["plan", "status", "smoke", "history", "rollout"])
def test_markdown_is_for_pull_requests(fleetctl: Fleetctl, verb: str) -> None:
    """Every verb that shows something can show it as a GitHub table."""
    said = fleetctl(verb, "-o", "markdown", *(["--yes"] if verb == "rollout" else []))

    assert "| --- |" in said.out


def test_faults_need_simulated_boards(fleetctl: Fleetctl) -> None:
    """Real boards bring their own faults."""
    said = fleetctl("plan", "--transport", "lab", "--faults", faults(luxor_01="{hot: true}"))

    assert said.status == 2


def test_the_verbs_are_those_that_exist() -> None:
    """The list that `--help` shows and the modules of the command line are the same."""
    folder = Path(sys.modules["fleetctl.cli"].__path__[0])
    modules = {path.stem for path in folder.glob("[a-z]*")} - {
        "bars",
        "build_images",
        "complete",
        "help",
        "group",
        "help_page",
        "hints",
        "lab_iothub",
        "named_file",
        "notify",
        "committed",
        "options",
        "over_iothub",
        "proposed",
        "quick",
        "result",
        "root",
        "session",
        "sharded",
        "shells",
        "steer",
    }

    assert set(VERBS) == modules


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`fleetctl VERB --help` begins with the sentence that `fleetctl --help` shows."""
    status = main([verb, "--help"])
    shown = " ".join(capsys.readouterr().out.split())

    assert status == 0
    assert VERBS[verb] in shown


def test_a_mistyped_verb_is_met_half_way(capsys: pytest.CaptureFixture[str]) -> None:
    """Usage errors are exit 2 and guess what was meant."""
    assert main(["rolout"]) == 2
    assert "did you mean 'rollout'?" in capsys.readouterr().err


def test_main_can_run_twice(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing of one command line is left when the next begins."""
    first, second = main(["--version"]), main(["--version"])

    assert (first, second) == (0, 0)
    assert len(set(capsys.readouterr().out.split("\n"))) == 2


def test_no_traceback_reaches_a_user(fleetctl: Fleetctl) -> None:
    """What fleetctl did not foresee is one message and exit 70, with the traceback kept in a file."""
    Path(".fleetctl").mkdir(exist_ok=True)
    Path(".fleetctl/fake").write_text("a file where a folder should be")
    said = fleetctl("status")

    assert said.status == 70
    assert "Traceback" not in said.err + said.out


@pytest.mark.parametrize(
    "words",
    [["plan"], ["status"], ["rollout", "--yes"], ["rollback", "--yes"], ["leave", "--yes"], ["history"]],
)
@pytest.mark.parametrize("selection", ["", "  "])
def test_an_empty_selection_is_not_the_whole_fleet(
    fleetctl: Fleetctl, words: list[str], selection: str
) -> None:
    """`--on "$BOARD"` with a variable that is not set touches nothing."""
    said = fleetctl(*words, "--on", selection)

    assert (2, "") == (said.status, said.out)
    assert "--on is empty" in said.err


def test_no_command_is_run_on_no_board(fleetctl: Fleetctl) -> None:
    """`exec -- "$COMMAND"` with a variable that is not set is refused as well."""
    said = fleetctl("exec", "--yes", "--", " ")

    assert (2, True) == (said.status, "there is no command" in said.err)


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


def test_an_interrupt_at_a_question_is_no_answer(fleetctl: Fleetctl) -> None:
    """Ctrl-C is exit 130 there too, and no is 1."""
    del fleetctl
    assert 128 + signal.SIGINT == asked(lambda process, _: process.send_signal(signal.SIGINT))
    assert 1 == asked(lambda _, terminal: os.write(terminal, b"n\n"))


def asked(answer: Callable[["subprocess.Popen[bytes]", int], object]) -> int:
    """How a rollout ends whose question is answered so."""
    terminal, side = pty.openpty()
    argv = [sys.executable, "-m", "fleetctl", "rollout"]
    with subprocess.Popen(argv, stdin=side, stdout=subprocess.DEVNULL, stderr=side) as process:
        os.close(side)
        said = b""
        while b"[y/N]" not in said:
            said += os.read(terminal, 1000)
        answer(process, terminal)
        process.wait(60)
    os.close(terminal)
    return process.returncode


def test_a_shard_s_results_lie_in_a_folder(fleetctl: Fleetctl) -> None:
    """A file in its place is a slip of the hand, and no board to see to."""
    Path("report.html").write_text("no folder")
    said = fleetctl("rollout", "--wave", "1", "--join", "report.html")

    assert (2, True) == (said.status, "report.html is no folder" in said.err)
