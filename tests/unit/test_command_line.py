"""Command lines as they are typed: verbs, their help, and lines that are not what was meant."""

import re
import sys
from pathlib import Path

import pytest
from git_fleet import Fleetctl

from fleetctl.cli import VERBS, main


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("pause", 10),
        ("resume", 10),
        ("abort --yes", 10),
        ("lab down", 10),
        ("lab status", 10),
        ("lab stop luxor-01", 10),
        ("lab start luxor-01", 10),
        ("artifacts pull models", 10),
        ("artifacts prune --yes", 10),
    ],
)
def test_a_wrong_folder_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, status: int
) -> None:
    """Where no fleet is, nothing of ours is left behind, and nobody is told that there is no lab."""
    monkeypatch.chdir(tmp_path)

    assert status == main(line.split())
    assert [] == list(tmp_path.iterdir())


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


def test_the_verbs_are_those_that_exist() -> None:
    """The list that `--help` shows and the modules of the command line are the same."""
    folder = Path(sys.modules["fleetctl.cli"].__path__[0])
    modules = {path.stem for path in folder.glob("[a-z]*")} - {
        "agreed",
        "bars",
        "build_changed",
        "build_images",
        "complete",
        "help",
        "group",
        "help_page",
        "hints",
        "interrupted",
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


def test_the_page_says_how_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    """Thirty verbs are no way in: the end of the page names the first ones, which are verbs."""
    main(["--help"])
    said = capsys.readouterr().out.split("\n\n")[-1]

    assert ["VERB --help", "init", "lab up"] == re.findall("`fleetctl ([^`]*)`", " ".join(said.split()))


def test_a_usage_line_has_words_of_the_user_in_capitals(capsys: pytest.CaptureFixture[str]) -> None:
    """Alike in every verb, and behind the options, as `--help` has them."""
    main(["manual", "cli"])
    used = re.findall(r"^fleetctl ([a-z -]+) \[OPTIONS\](.*)$", capsys.readouterr().out, re.MULTILINE)

    assert {"init", "lab iothub clock", "exec"} <= {verb for verb, _ in used}
    assert [] == [words for _, words in used if words != words.upper()]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`fleetctl VERB --help` begins with the sentence that `fleetctl --help` shows."""
    status = main([verb, "--help"])
    shown = " ".join(capsys.readouterr().out.split())

    assert status == 0
    assert VERBS[verb] in shown


@pytest.mark.parametrize("verb", ["artifacts", "github", "keys", "lab", "lab iothub", "models"])
def test_a_verb_of_verbs_names_each_in_whole_sentences(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    """Its page cuts nothing short, and a misspelt verb is told what was meant."""
    main([*verb.split(), "--help"])
    page = capsys.readouterr().out.split("Verbs:\n")[1]
    first = page.split()[0]
    status = main([*verb.split(), f"{first}x"])

    assert (False, True) == ("..." in page, page.rstrip().endswith("."))
    assert (2, True) == (status, f"no verb '{first}x'; did you mean '{first}'?" in capsys.readouterr().err)


@pytest.mark.parametrize("verb", ["", "artifacts", "github", "keys", "lab", "lab iothub", "models"])
def test_without_a_verb_the_page_is_shown(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    """Whoever types a name alone asks what it can do; nothing was done, so the exit is that of wrong use."""
    main([*verb.split(), "--help"])
    page = capsys.readouterr().out
    status = main(verb.split())

    assert (2, ("", page)) == (status, capsys.readouterr())


def test_a_mistyped_verb_is_met_half_way(capsys: pytest.CaptureFixture[str]) -> None:
    """Usage errors are exit 2 and guess what was meant."""
    assert main(["rolout"]) == 2
    assert "did you mean 'rollout'?" in capsys.readouterr().err


def test_main_can_run_twice(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing of one command line is left when the next begins."""
    first, second = main(["--version"]), main(["--version"])

    assert (first, second) == (0, 0)
    assert len(set(capsys.readouterr().out.split("\n"))) == 2


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


@pytest.mark.parametrize(
    "line", ["rollout --yes --on !luxor-01 --on !luxor-02", "lab up --on=luxor-01 --on luxor-02"]
)
def test_no_selection_hides_another(fleetctl: Fleetctl, line: str) -> None:
    """The last one alone would count, and a board that was left out be written to."""
    said = fleetctl(*line.split())
    command = fleetctl("exec", "--yes", "--on", "luxor-01", "--", "--on", "a", "--on", "b")

    assert (2, "") == (said.status, said.out)
    assert "error: --on is given twice" in said.err
    assert "given twice" not in command.err


@pytest.mark.parametrize(
    ("line", "option", "hint"),
    [
        ("--on luxor-01 ls -l", "-l", "fleetctl exec --on luxor-01 -- ls -l"),
        ("--yes df -h", "-h", "fleetctl exec --yes -- df -h"),
        ("--on=luxor-01 apt-get -y upgrade", "-y", "fleetctl exec --on=luxor-01 -- apt-get -y upgrade"),
        ("ls --color", "--color", "fleetctl exec -- ls --color"),
        ("--on git git log -n 1 -- a", "-n", "fleetctl exec --on git -- git log -n 1 -- a"),
        ("uptime -y --on luxor-01", "-y", "fleetctl exec -- COMMAND"),
    ],
)
def test_an_option_of_a_command_is_not_taken_for_one_of_ours(
    fleetctl: Fleetctl, line: str, option: str, hint: str
) -> None:
    """Without `--`, `-y` would answer our own question; it says what to type."""
    said = fleetctl("exec", *line.split())

    assert (2, "") == (said.status, said.out)
    assert f"error: {option} stands behind " in said.err
    assert f"`{hint}`" in said.err


@pytest.mark.parametrize("line", ["--on luxor-01 -- ls -l", "uptime --yes --output=json", "cat - --yes"])
def test_a_command_that_is_clear_is_run(fleetctl: Fleetctl, line: str) -> None:
    """Behind `--`, or where each option is a whole word that is one of ours, it comes as far as any other."""
    assert "error: fake boards run no commands" in fleetctl("exec", *line.split()).err


@pytest.mark.parametrize("number", ["nan", "inf"])
@pytest.mark.parametrize(
    "line",
    [
        "status --watch --every {}",
        "dashboard --every {}",
        "exec --deadline {} -- true",
        "lab iothub fault --slow {}",
        "lab iothub clock {}",
    ],
)
def test_seconds_are_a_number(fleetctl: Fleetctl, line: str, number: str) -> None:
    """`nan` lies in every range: no clock could wait for it. Infinity is none of a clock's either."""
    said = fleetctl(*line.format(number).split())

    assert (2, "") == (said.status, said.out)
    assert f"is {number}, which is no number" in said.err or f"{number} is not in the range" in said.err


@pytest.mark.parametrize("line", ["rollout --yes --commit", "rollout --yes --shard", "rollback --yes --to"])
def test_an_empty_value_is_not_an_option_left_out(fleetctl: Fleetctl, line: str) -> None:
    """`--commit "$SHA"` with a variable that is not set does not roll out the files as they lie here,
    nor does `--to "$RELEASE"` take boards back to whatever they ran before.
    """
    said = fleetctl(*line.split(), "")

    assert (2, "") == (said.status, said.out)
    assert f"{line.split()[-1]} is empty" in said.err


@pytest.mark.parametrize("line", ["logs", "doctor --remedy reboot --yes"])
def test_an_empty_board_is_not_every_board(fleetctl: Fleetctl, line: str) -> None:
    """Nor the only one of a small fleet, which would be started anew."""
    said = fleetctl(*line.split(), " ")

    assert (2, "") == (said.status, said.out)
    assert "BOARD is empty" in said.err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("plan --changes-ok", "--changes-ok is about a change, and nothing says since when"),
        ("plan --commit-by-commit", "--commit-by-commit is about a change"),
        ("plan --base HEAD --back", "--base and --back do not go together"),
        ("plan --base HEAD --adopt", "--base and --adopt do not go together"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(fleetctl: Fleetctl, line: str, says: str) -> None:
    """Whoever gives it counts on it, as a pipeline on the exit status."""
    said = fleetctl(*line.split())

    assert (2, "") == (said.status, said.out)
    assert says in said.err


@pytest.mark.parametrize(
    "line", ["keys show", "artifacts check ../place", "artifacts prune", "pause", "resume", "abort --yes"]
)
def test_nothing_is_found_in_a_wrong_folder(
    fleetctl: Fleetctl, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """Within the fleet's folder, its keys, models and rollouts are not said to be none."""
    monkeypatch.chdir("inventory")
    said = fleetctl(*line.split())

    assert (10, "") == (said.status, said.out)
    assert "there is one above: `-f fleet.yaml` names it" in said.err


def test_no_command_is_run_on_no_board(fleetctl: Fleetctl) -> None:
    """`exec -- "$COMMAND"` with a variable that is not set is refused as well."""
    said = fleetctl("exec", "--yes", "--", " ")

    assert (2, True) == (said.status, "there is no command" in said.err)


def test_no_traceback_reaches_a_user(fleetctl: Fleetctl) -> None:
    """What fleetctl did not foresee is one message and exit 70, with the traceback kept in a file."""
    Path(".fleetctl").mkdir(exist_ok=True)
    Path(".fleetctl/fake").write_text("a file where a folder should be")
    said = fleetctl("status")

    assert said.status == 70
    assert "Traceback" not in said.err + said.out
