"""Fixtures of tests whose fleet is in git; where a fleet needs none, its file has its own."""

from functools import partial
from pathlib import Path

import pytest
from git_fleet import Fleetctl, GitFleet, Plan, Said, say


@pytest.fixture
def fleet(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> GitFleet:
    """A fleet that is built, committed and pushed; the test works in its checkout."""
    return GitFleet.enter(tmp_path_factory, tmp_path, monkeypatch)


@pytest.fixture
def fleetctl(
    fleet: GitFleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Fleetctl:
    """Runs a command line in the checkout; the boards are simulated."""
    assert fleet.root == Path.cwd()
    monkeypatch.setenv("FLEETCTL_TRANSPORT", "fake")
    return partial(say, capsys)


@pytest.fixture
def plan(fleet: GitFleet, capsys: pytest.CaptureFixture[str]) -> Plan:
    """Runs `fleetctl plan --base HEAD` on what has been edited since; no board is there to be asked."""

    def run(*arguments: str, base: str = "HEAD") -> Said:
        return say(capsys, "plan", "--base", base, *arguments)

    assert fleet.root == Path.cwd()
    return run
