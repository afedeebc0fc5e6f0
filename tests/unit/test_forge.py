"""One comment, one issue: made once, then kept up to date, whatever people write beside them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from github_stand_in import REPOSITORY, TOKEN, GitHubStandIn, standing_in

from fleetctl.cli import main
from fleetctl.errors import TransportError
from fleetctl.forge.rest import BODY_CHARACTERS, GitHub


@pytest.fixture
def github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHubStandIn]:
    """A step of a workflow that is about pull request 7."""
    event = {"pull_request": {"number": 7, "head": {"repo": {"full_name": REPOSITORY}}}}
    (tmp_path / "event.json").write_text(json.dumps(event))
    monkeypatch.chdir(tmp_path)
    with standing_in() as found:
        for name, value in {
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": found.address,
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_TOKEN": TOKEN,
            "GITHUB_EVENT_PATH": str(tmp_path / "event.json"),
            "GITHUB_SERVER_URL": "https://github.example",
            "GITHUB_RUN_ID": "12",
        }.items():
            monkeypatch.setenv(name, value)
        yield found


def comment(text: str, *arguments: str) -> int:
    Path("plan.md").write_text(text)
    return main(["github", "comment", "--file", "plan.md", *arguments])


def test_a_comment_is_made_once_and_then_replaced(github: GitHubStandIn) -> None:
    """Pushing again changes the comment; its neighbours of another key stay."""
    assert [0, 0, 0] == [comment("first"), comment("second"), comment("other", "--key", "card")]
    assert ["<!-- fleetctl: plan -->\nsecond", "<!-- fleetctl: card -->\nother"] == [
        each["body"] for each in github.comments
    ]


def test_a_person_who_writes_the_mark_is_not_us(github: GitHubStandIn) -> None:
    """Nobody's words are replaced by ours, and ours are not hidden under another name."""
    github.add_comment(7, "<!-- fleetctl: plan -->\nlooks fine, merge it", "User")
    comment("really")

    assert ["looks fine", "really"] == [each["body"].splitlines()[1][:10] for each in github.comments]


def test_our_comment_is_found_among_hundreds(github: GitHubStandIn) -> None:
    """Every page is looked at before another is made."""
    for number in range(250):
        github.add_comment(7, f"chatter {number}", "User")
    comment("first")
    comment("second")

    assert 251 == len(github.comments)


def test_a_fork_gets_no_comment_and_no_failure(
    github: GitHubStandIn, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """GitHub gives a fork's workflow no right to write: said, and exit 0; in one's own repository exit 31."""
    github.writable = False
    assert 31 == comment("plan")
    event = {"pull_request": {"number": 7, "head": {"repo": {"full_name": "stranger/unas"}}}}
    (tmp_path / "event.json").write_text(json.dumps(event))
    capsys.readouterr()

    assert 0 == comment("plan")
    assert "this pull request comes from a fork, so it gets no comment" in capsys.readouterr().err


def test_an_issue_is_opened_updated_and_closed(github: GitHubStandIn) -> None:
    """One issue as long as boards differ; a later difference is another issue."""
    Path("drift.md").write_text("luxor-01 differs")
    opened = ["github", "open-issue", "--file", "drift.md", "--title", "Boards differ from git"]
    assert 0 == main(opened)
    Path("drift.md").write_text("luxor-02 differs")
    assert 0 == main(opened)
    assert [("open", True)] == [(i["state"], "luxor-02" in i["body"]) for i in github.issues]
    assert [0, 0] == [main(["github", "close-issue"]), main(["github", "close-issue"])]
    assert 0 == main(opened)

    assert ["closed", "open"] == [issue["state"] for issue in github.issues]
    assert "[The log](https://github.example/temples/unas/actions/runs/12)" in github.issues[0]["body"]
    assert 1 == len(github.comments)


def test_a_check_that_said_nothing_is_an_issue_too(github: GitHubStandIn) -> None:
    """An empty report is not an all-clear."""
    Path("drift.md").write_text("")
    main(["github", "open-issue", "--file", "drift.md", "--title", "Boards differ"])

    assert "The check itself failed and said nothing." in github.issues[0]["body"]


def test_a_long_body_is_cut_to_what_github_takes(github: GitHubStandIn) -> None:
    """Better the beginning than nothing."""
    comment("x" * 100_000)

    assert BODY_CHARACTERS == len(github.comments[0]["body"])


def test_what_was_taken_without_an_answer_is_not_said_twice(github: GitHubStandIn) -> None:
    """A second comment or issue would stay for ever: before another is made, ours is looked for again."""
    client = GitHub(REPOSITORY, TOKEN, github.address, pause=lambda _: None)
    github.forgets = 2
    client.comment(7, "plan", "body")
    client.open_issue("drift", "Boards differ", "body")

    assert (1, 1) == (len(github.comments), len(github.issues))


def test_a_busy_github_is_asked_again(github: GitHubStandIn) -> None:
    """Three times, ever later; after that it is exit 30."""
    waits: list[float] = []
    client = GitHub(REPOSITORY, TOKEN, github.address, pause=waits.append)
    github.busy = 3
    client.comment(7, "plan", "body")
    github.busy = 99

    assert [2.0, 4.0, 8.0] == waits
    with pytest.raises(TransportError, match="503"):
        client.comment(7, "plan", "body")


def test_the_token_is_nowhere_to_be_read(github: GitHubStandIn, capsys: pytest.CaptureFixture[str]) -> None:
    """It is masked first and never said, in errors neither."""
    github.writable = False
    capsys.readouterr()
    comment("plan")
    said = capsys.readouterr()

    assert f"::add-mask::{TOKEN}" in said.err
    assert TOKEN not in (said.out + said.err).replace(f"::add-mask::{TOKEN}", "")


@pytest.mark.usefixtures("github")
@pytest.mark.parametrize("missing", ["GITHUB_TOKEN", "GITHUB_REPOSITORY", "GITHUB_EVENT_PATH"])
def test_outside_a_workflow_it_is_a_usage_error(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the step lacks is named, with exit 2."""
    monkeypatch.delenv(missing)

    assert 2 == comment("plan")
