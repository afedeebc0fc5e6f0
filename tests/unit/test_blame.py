"""Who changed git after a board's release: read from a real repository."""

import subprocess
from pathlib import Path

import pytest

from fleetctl.blame import Move, move_since
from fleetctl.project import DEFAULT_MANIFEST, Project


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Ann", "-c", "user.email=ann@fleet.invalid", "-c", "commit.gpgsign=false"]
    argv = ["git", "-C", str(root), *identity, *arguments]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Three commits: one of the fleet, one of something else, one of the fleet again."""
    git(tmp_path, "init", "--quiet")
    for path in ("inventory/fleet.yaml", "README.md", "model_artifacts/fleet.lock", "inventory/known_hosts"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(path)
        git(tmp_path, "add", "--all")
        git(tmp_path, "commit", "--quiet", "--message", f"Add {path}")
    return tmp_path


def test_the_first_commit_that_decides(repository: Path) -> None:
    """The oldest change after the board's commit is the one, a dirty commit counts as its own."""
    start = git(repository, "rev-parse", "HEAD~3")
    change = move_since(Project(repository / DEFAULT_MANIFEST), f"{start}-dirty").change

    assert change
    assert ("Ann", "Add model_artifacts/fleet.lock") == (change.author, change.subject)
    assert git(repository, "rev-parse", "HEAD~1") == change.commit


@pytest.mark.parametrize("commit", ["", "--output=/tmp/x", "HEAD"])
def test_a_board_that_names_no_commit(repository: Path, commit: str) -> None:
    """Then it is the newest there is; what a board says never reaches git as an option."""
    change = move_since(Project(repository / DEFAULT_MANIFEST), commit).change

    assert change
    assert "Add inventory/known_hosts" == change.subject


@pytest.mark.parametrize("commit", ["f" * 40, "f" * 40 + "-dirty"])
def test_a_commit_from_elsewhere_is_followed_by_none_of_ours(repository: Path, commit: str) -> None:
    """As where main was rewritten, or a clone is cut short: nobody here is blamed."""
    assert Move(is_foreign=True) == move_since(Project(repository / DEFAULT_MANIFEST), commit)


def test_outside_of_git_nobody_knows(tmp_path: Path) -> None:
    assert Move() == move_since(Project(tmp_path / DEFAULT_MANIFEST), "f" * 40)


def test_no_name_hides_a_commit(repository: Path) -> None:
    """A name or a subject may hold what some take for the end of a line; the commit is found all the same."""
    start = git(repository, "rev-parse", "HEAD")
    (repository / "inventory/fleet.yaml").write_text("changed")
    odd = ["--author", "Mal\u2028lory <m@fleet.invalid>", "--message", "Ask for\x85surer answers"]
    git(repository, "commit", "--quiet", "--all", *odd)
    change = move_since(Project(repository / DEFAULT_MANIFEST), start).change

    assert change
    assert ("Mal\u2028lory", "Ask for\x85surer answers") == (change.author, change.subject)
