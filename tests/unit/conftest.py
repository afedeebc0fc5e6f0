"""Fixtures that several files share: a fleet in git, a board of processes, a place for programs."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from git_fleet import Fleetctl, GitFleet, Plan, say
from published import Said
from tiny_board import TinyBoard, TinyRelease, powered, tiny_release


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


@pytest.fixture
def board(tmp_path: Path) -> Iterator[TinyBoard]:
    """A bare board; a file whose board has more to it has a fixture of its own."""
    with powered(tmp_path / "root") as board:
        yield board


@pytest.fixture
def good(board: TinyBoard) -> TinyRelease:
    """A release that the board has proved, keeps, and serves."""
    release = tiny_release(board.port)
    board.install(release)
    return release


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder; programs are looked for in it and where the system has its own, and nowhere else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder
