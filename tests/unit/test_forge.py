"""One comment, one issue: made once, then kept up to date, whatever people write beside them; deployments."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from git_fleet import say
from github_stand_in import REPOSITORY, TOKEN, GitHubStandIn, standing_in
from step_outputs import outputs

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
            "GITHUB_OUTPUT": str(tmp_path / "outputs"),
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


def test_a_long_issue_ends_with_its_log(github: GitHubStandIn) -> None:
    """A table of hundreds of boards is cut at a line, which is said, and the log has the rest."""
    Path("drift.md").write_text("| luxor-01 | 𓅓 differs |\n" * 3_000)
    main(["github", "open-issue", "--file", "drift.md", "--title", "Boards differ"])
    body = github.issues[0]["body"]

    assert len(body) <= BODY_CHARACTERS
    assert "| luxor-01 | 𓅓 differs |\n\n**Cut here: the log" in body
    assert body.endswith("\n\n[The log](https://github.example/temples/unas/actions/runs/12)")


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


def test_a_token_that_was_pasted_with_its_line_is_taken(
    github: GitHubStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would make no header, and no second try would help."""
    monkeypatch.setenv("GITHUB_TOKEN", f"{TOKEN}\n")

    assert 0 == comment("first")
    assert 1 == len(github.comments)


def test_the_token_is_nowhere_to_be_read(github: GitHubStandIn, capsys: pytest.CaptureFixture[str]) -> None:
    """It is masked first and never said, in errors neither."""
    github.writable = False
    capsys.readouterr()
    comment("plan")
    said = capsys.readouterr()

    assert f"::add-mask::{TOKEN}" in said.err
    assert TOKEN not in (said.out + said.err).replace(f"::add-mask::{TOKEN}", "")


def deployed(github: GitHubStandIn, environment: str, *ends: bool) -> None:
    """One deployment after the other; the first is of commit 000..., the next of 111..., and so on."""
    for number, success in enumerate(ends):
        github.end(github.deploy(environment, f"{number % 10}" * 40), success=success)


def test_the_newest_deployment_that_succeeded_is_named(
    github: GitHubStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither one that failed, nor the one that is under way, nor another environment's."""
    deployed(github, "canary", True, True, False)
    deployed(github, "fleet", True, True, True, True)
    github.deploy("canary", "c" * 40)
    said = say(capsys, "github", "deployed", "canary")

    assert (0, "1" * 40 + "\n") == (said.status, said.out)
    assert {"commit": "1" * 40} == outputs(Path("outputs").read_text())


def test_a_deployment_counts_though_it_is_inactive(
    github: GitHubStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    """GitHub marks what a later one replaced, and that one may have been deleted since."""
    deployed(github, "canary", True, True)
    github.deployments.pop()

    assert "0" * 40 + "\n" == say(capsys, "github", "deployed", "canary").out


def test_where_nothing_was_deployed_the_output_is_empty(
    github: GitHubStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fleet's first rollout is no failure: that is said, and nothing is printed."""
    deployed(github, "canary", False)
    said = say(capsys, "github", "deployed", "canary")

    assert (0, "") == (said.status, said.out)
    assert "no deployment to canary has succeeded yet" in said.err
    assert {"commit": ""} == outputs(Path("outputs").read_text())


def test_a_success_behind_many_failures_is_found(
    github: GitHubStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the second page too; further back it is an error, and never taken for none."""
    deployed(github, "canary", True, *[False] * 150)
    found = say(capsys, "github", "deployed", "canary")
    deployed(github, "canary", *[False] * 50)
    lost = say(capsys, "github", "deployed", "canary")

    assert "0" * 40 + "\n" == found.out
    assert (31, "") == (lost.status, lost.out)
    assert "none of the last 200 deployments to canary succeeded" in lost.err


@pytest.mark.usefixtures("github")
@pytest.mark.parametrize("name", ["", "-canary", "canary/../..", "a b", "x" * 101])
def test_what_is_no_environment_is_not_asked_for(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, before GitHub hears of it."""
    said = say(capsys, "github", "deployed", "--", name)

    assert 2 == said.status
    assert f"{name!r} is no environment" in said.err


@pytest.mark.usefixtures("github")
def test_deployments_that_may_not_be_read_are_a_refusal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token without the right is exit 31: that nothing was deployed cannot be known."""
    monkeypatch.setenv("GITHUB_TOKEN", "ghs_reed")
    said = say(capsys, "github", "deployed", "canary")

    assert (31, "") == (said.status, said.out)
    assert "the job's `permissions` must allow it" in said.err


def test_a_busy_github_is_asked_again_what_was_deployed(github: GitHubStandIn) -> None:
    """As everywhere; after that it is exit 30."""
    client = GitHub(REPOSITORY, TOKEN, github.address, pause=lambda _: None)
    deployed(github, "canary", True)
    github.busy = 3
    found = client.deployed("canary")
    github.busy = 99

    assert "0" * 40 == found
    with pytest.raises(TransportError, match="503"):
        client.deployed("canary")


@pytest.mark.usefixtures("github")
@pytest.mark.parametrize("missing", ["GITHUB_TOKEN", "GITHUB_REPOSITORY", "GITHUB_EVENT_PATH"])
def test_outside_a_workflow_it_is_a_usage_error(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the step lacks is named, with exit 2."""
    monkeypatch.delenv(missing)

    assert 2 == comment("plan")
