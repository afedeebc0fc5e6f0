"""fleetctl in a GitHub Actions step: annotations, summary, outputs, masks; and nothing of it elsewhere."""

import html
import json
import re
from pathlib import Path

import pytest
from git_fleet import GitFleet
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from step_outputs import outputs

from fleetctl.cli import main
from fleetctl.errors import ManifestError, Problem, UsageError
from fleetctl.report import github
from fleetctl.report.console import emit_json, emit_text, markdown_table, markdown_text, talk
from fleetctl.report.screen import print_coloured

# What the runner does (actions/runner, ActionCommand.cs): `::name` after blanks at the start of a line, or
# `##[name]` anywhere in it.
OBEYED = re.compile(r"^\s*::[^\n]|##\[", re.MULTILINE)


@pytest.fixture
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A step of a workflow; the folder holds its summary and outputs."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "outputs"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_elsewhere_nothing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without GITHUB_ACTIONS there are no commands, no files, and text stays as it is."""
    github.annotate(UsageError("no"))
    github.mask("secret")
    github.summarize("# summary")
    github.set_outputs({"a": 1})
    emit_text("::error::text of a board")

    captured = capsys.readouterr()
    assert ("::error::text of a board\n", "") == (captured.out, captured.err)
    assert [] == list(tmp_path.iterdir())


def test_each_problem_of_the_manifest_marks_its_line(step: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The pull request shows a problem where it is: file from the checkout's root, line and column."""
    (step / "inventory").mkdir()
    (step / "inventory" / "fleet.yaml").write_text("apiVersion: fleetctl/v1\nkind: Fleet\nmodle: 3\n")
    status = main(["validate", "-f", str(step / "inventory" / "fleet.yaml")])
    said = capsys.readouterr().err

    assert 10 == status
    assert "::error file=inventory/fleet.yaml,line=3,col=1,title=fleetctl::modle: unknown key `modle`" in said


@pytest.mark.usefixtures("step")
def test_an_error_without_a_place_marks_the_step(capsys: pytest.CaptureFixture[str]) -> None:
    """Message and hint are one annotation, on one line."""
    github.annotate(UsageError("100 % wrong\nreally", hint="mend it"))

    assert "::error title=fleetctl::100 %25 wrong%0Areally; mend it\n" == capsys.readouterr().err


@pytest.mark.usefixtures("step")
def test_a_thousand_problems_are_ten_annotations(capsys: pytest.CaptureFixture[str]) -> None:
    """GitHub drops what is over its limit without a word, so the last one says how many there are."""
    github.annotate(ManifestError([Problem("f", n, 1, "", "bad") for n in range(1, 1001)]))
    said = capsys.readouterr().err.splitlines()

    assert 10 == len(said)
    assert "::error title=fleetctl::991 more problems: the log has all" == said[-1]


@given(text=st.text(st.sampled_from("a:#[] \t\n\r::##[error]\x0b\x85\u2028")))
def test_no_text_is_a_command(text: str) -> None:
    """Whatever a board says, the runner finds no command in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITHUB_ACTIONS", "true")
        defused = github.defused(text)

    assert all(not OBEYED.search(line) for line in re.split(r"[\n\r]", defused)), defused


@pytest.mark.usefixtures("step")
@pytest.mark.parametrize("hostile", ["::add-mask::a", "x\n  ::error::gotcha", "##[error]gotcha"])
def test_results_and_talk_are_defused(hostile: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Both streams are what the runner reads, so both are made harmless; JSON keeps its value."""
    emit_text(hostile)
    talk.warn(hostile)
    captured = capsys.readouterr()
    emit_json("s/v1", {"said": hostile})
    as_json = capsys.readouterr().out

    assert not OBEYED.search(captured.out + captured.err + as_json)
    assert hostile == json.loads(as_json)["said"]


@given(value=st.text())
def test_an_output_holds_any_value(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    """Values with newlines, or with what looks like another output, come back whole and alone."""
    path = tmp_path_factory.mktemp("step") / "outputs"
    value = "\n".join(value.encode("utf-8", "ignore").decode().split()) + "\nother<<end"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITHUB_ACTIONS", "true")
        patch.setenv("GITHUB_OUTPUT", str(path))
        github.set_outputs({"said": value, "yes": True})

    assert {"said": value, "yes": "true"} == outputs(path.read_text())


@pytest.mark.usefixtures("step")
def test_secrets_are_masked_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The runner masks whole lines: a key of several lines is several masks."""
    github.mask("first\n\nse%cond\n")

    assert "::add-mask::first\n::add-mask::se%25cond\n" == capsys.readouterr().err


def test_a_summary_is_cut_before_github_drops_it(step: Path) -> None:
    """Several summaries of one step together stay below the limit, and the cut says so."""
    github.summarize("# first")
    github.summarize("| row |\n" * 200_000)
    text = (step / "summary.md").read_text()

    assert len(text.encode()) < 1 << 20
    assert text.startswith("# first\n")
    assert text.rstrip().endswith("**Cut here: the log and `--output json` have all of it.**")


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("a|b", r"a\|b"),
        ("a\\|b", r"a\\\|b"),
        ("![x](http://evil/p.png)", "!\\[x\\](http:\u2060//evil/p.png)"),
        ("<img src=x>", "&lt;img src=x>"),
        ("@everyone see #12", "@\u2060everyone see #\u206012"),
        ("`code`\nnext", r"\`code\`<br>next"),
        ("www.evil.invalid/login", "www\u2060.evil.invalid/login"),
        ("WWW.evil.invalid", "WWW\u2060.evil.invalid"),
        ("_this_ and __that__", r"\_this\_ and \_\_that\_\_"),
        ("smoke.min_agreement", "smoke.min_agreement"),
        (":rotating_light: 12:30", ":\u2060rotating_light: 12:30"),
        ("fleet.yaml:15:87: :100: :1234:", "fleet.yaml:15:87: :\u2060100: :\u20601234:"),
        (":x::+1:", ":\u2060x::\u2060+1:"),
        (
            r"$\color{red}{OK}$",
            r"<span>&#36;</span>\\color{red}{OK}<span>&#36;</span>",
        ),
        ("GH-12, gh-1, o/r#3", "GH\u2060-12, gh\u2060-1, o/r#\u20603"),
        ("me@evil.invalid", "me@\u2060evil.invalid"),
    ],
)
def test_markdown_shows_text_as_it_is(hostile: str, harmless: str) -> None:
    """No markup, no picture, no link, nobody mentioned, and no way out of a table's cell."""
    assert harmless == markdown_text(hostile)
    assert f"| {harmless} |" == markdown_table(["a"], [[hostile]]).splitlines()[-1]


# Out of pieces of markup, and what GitHub makes more of: by its manual, and as its filters look for it.
HOSTILE = st.lists(
    st.sampled_from([*"_*$:@#-/.x1 \\`~[]|<>&\n", "www.", "GH-1", ":x:", "http://"]), max_size=12
)
SEEN = re.compile(r"www\.|\bGH-\d|@\w|#\d|://|:(?!\d+:)[\w+-]+:", re.IGNORECASE)


@given(text=HOSTILE.map("".join))
def test_no_text_is_ever_markup(text: str) -> None:
    """Rendered, any text is itself again, and holds nothing that GitHub would make a link or a picture."""
    shown = MarkdownIt("commonmark").renderInline(markdown_text(text)).replace("<br>", "\n")
    bare = html.unescape(shown.replace("<span>$</span>", "§"))

    assert "$" not in bare
    assert not SEEN.search(bare)
    assert text.replace("$", "§").strip() == bare.replace("\u2060", "").strip()


@pytest.mark.usefixtures("step")
def test_what_boards_say_in_a_status_is_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The door by which `status` prints its result is guarded like the others."""
    print_coloured("##[error]gotcha\n::error::gotcha")

    assert not OBEYED.search(capsys.readouterr().out)


def test_a_status_is_a_summary_and_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A step that asks boards leaves a table on the page of its run, and numbers for the steps behind it."""
    fleet = GitFleet.make(tmp_path)
    monkeypatch.chdir(fleet.root)
    monkeypatch.setenv("FLEETCTL_TRANSPORT", "fake")
    assert 0 == main(["rollout", "--yes"])
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "outputs"))
    assert [0, 0] == [main(["status"]), main(["drift"])]
    capsys.readouterr()
    found = outputs((tmp_path / "outputs").read_text())

    assert {"healthy": "3", "boards": "3", "all_healthy": "true", "differs": "false", "heal": ""} == found
    assert "3 boards" in (tmp_path / "summary.md").read_text()
