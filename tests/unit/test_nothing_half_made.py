"""What is left of a verb whose disk took no more: the files of before, and no part of new ones."""

import os
from pathlib import Path

import pytest
from full_disk import longest_file
from git_fleet import GitFleet, say

from fleetctl.errors import WriteError
from fleetctl.store import all_or_none


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}


@pytest.fixture
def fleet(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> GitFleet:
    monkeypatch.setenv("FLEETCTL_TRANSPORT", "fake")
    return GitFleet.enter(tmp_path_factory, tmp_path, monkeypatch)


@pytest.mark.parametrize("error", [KeyboardInterrupt, WriteError("full")])
def test_files_that_belong_together_come_together(tmp_path: Path, error: BaseException) -> None:
    """Neither they nor their folders are left; what was there before, or came from others, is."""
    (tmp_path / "before").mkdir()
    with pytest.raises((KeyboardInterrupt, WriteError)), all_or_none() as write:
        write(tmp_path / "before" / "a", "a")
        write(tmp_path / "new" / "deep" / "b", "b", mode=0o600)
        write(tmp_path / "shared" / "c", "c")
        (tmp_path / "shared" / "theirs").touch()
        raise error

    assert {Path("before"), Path("shared"), Path("shared/theirs")} == files(tmp_path)


def test_init_on_a_full_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its command line was right, so it is no error of usage; and run again it writes all."""
    monkeypatch.chdir(tmp_path)
    Path("README.md").touch()
    with longest_file(4000):
        full = say(capsys, "init", "temples", "--github")
        here = say(capsys, "init")

    assert (70, 70) == (full.status, here.status)
    assert "error: cannot write temples/inventory/" in full.err
    assert "hint: make room there" in full.err
    assert {Path("README.md")} == files(tmp_path)
    assert 0 == say(capsys, "init").status


@pytest.mark.parametrize("is_there", [False, True])
def test_render_on_a_full_disk_leaves_nothing(
    fleet: GitFleet, tmp_path: Path, capsys: pytest.CaptureFixture[str], is_there: bool
) -> None:
    """Half a release looks like a whole one; and run again it finds nothing in its way."""
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert 0 == say(capsys, "render", "luxor-01", "--out", str(whole)).status
    if is_there:
        out.mkdir()
    with longest_file(8000):
        full = say(capsys, "render", "luxor-01", "--out", str(out))

    assert 70 == full.status
    assert f"error: cannot write {out}/" in full.err
    assert (is_there, []) == (out.exists(), list(out.rglob("*")))
    assert 0 == say(capsys, "render", "luxor-01", "--out", str(out)).status
    assert files(whole) == files(out)
    assert fleet.root == Path.cwd()


def test_a_commit_for_which_there_is_no_room(
    fleet: GitFleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk of temporary files is named, and none of them is left; it is not the output that failed."""
    scratch = fleet.root.parent / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", os.fspath(scratch))
    with longest_file(100):
        full = say(capsys, "rollout", "--yes", "--commit", "HEAD")

    assert 70 == full.status
    assert f"error: cannot write {scratch}/fleetctl-commit-" in full.err
    assert [] == list(scratch.iterdir())
