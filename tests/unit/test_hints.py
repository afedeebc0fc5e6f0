"""A command that a hint names works as it is printed: it says which fleet is meant, where that was said."""

import re
import shlex
from pathlib import Path

import pytest
from git_fleet import GitFleet, say

from fleetctl.cli import main
from fleetctl.report.console import talk

FLEET = "my fleet/fleet.yaml"
OF = ["-f", FLEET]


def hinted(text: str) -> list[list[str]]:
    """The commands that a text names, as a shell would read them."""
    return [shlex.split(found) for found in re.findall(r"`fleetctl ([^`]+)`", " ".join(text.split()))]


@pytest.fixture
def fleet(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> GitFleet:
    """A fleet whose manifest has to be named."""
    found = GitFleet.enter(tmp_path_factory, tmp_path, monkeypatch)
    found.git("mv", "inventory", "my fleet")
    found.commit("Another name")
    return GitFleet(found.root, "my fleet")


def test_an_error_names_the_manifest_that_the_user_named(
    fleet: GitFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    """And only there: the next command line in this process may be about another fleet."""
    fleet.edit("variants: [int8]", "variants: [int8, float32]")
    stale = say(capsys, "plan", *OF, "--transport=fake")
    here = say(capsys, "pause")

    assert [["build", *OF, "toy"]] == hinted(stale.err)
    assert [["init"]] == hinted(here.err)
    assert str is talk.spelled


def test_talk_and_results_do_too(fleet: GitFleet, capsys: pytest.CaptureFixture[str]) -> None:
    """A lab's verbs, whose own verbs are two words; and what drift would have boards put right by."""
    options = [*OF, "--transport", "fake"]
    lab = say(capsys, "lab", "status", *OF)
    assert 0 == say(capsys, "rollout", "--yes", *options).status
    fleet.edit("threshold: 0.6", "threshold: 0.9")
    drift = say(capsys, "drift", *options)
    data = say(capsys, "drift", *options, "-o", "json").json

    assert [["lab", "up", *OF]] == hinted(lab.err)
    assert [["rollout", *reversed_pairs(options), "--on", "karnak-01"]] == hinted(drift.err)
    assert hinted(drift.err) == hinted(f"`{data['heal']}`")
    assert 0 == main([*hinted(drift.err)[0], "--yes"])
    assert 0 == say(capsys, "drift", *options).status


def reversed_pairs(options: list[str]) -> list[str]:
    return [*options[2:], *options[:2]]


@pytest.mark.parametrize("line", ["plan", "plan -f inventory/fleet.yaml"])
def test_what_goes_without_saying_is_not_said(
    fleet: GitFleet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """The manifest of this folder, and boards that the environment names: both hold for the next command."""
    fleet.git("mv", "my fleet", "inventory")
    GitFleet(fleet.root).edit("variants: [int8]", "variants: [int8, float32]")
    monkeypatch.setenv("FLEETCTL_TRANSPORT", "fake")

    assert [["build", "toy"]] == hinted(say(capsys, *line.split()).err)


def test_verbs_that_take_no_manifest_get_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`init` names a folder."""
    said = say(capsys, "validate", "-f", str(tmp_path / "none.yaml"))

    assert [["init"]] == hinted(said.err)
