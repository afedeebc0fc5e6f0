"""What a board runs is not lost in passing: neither to an older commit, nor to half of a history."""

import shutil

import pytest
from git_fleet import Fleetctl, GitFleet


def change(fleet: GitFleet, old: str, new: str) -> str:
    """A pushed commit by which karnak-01 gets another release."""
    fleet.edit(f"threshold: {old}", f"threshold: {new}")
    commit = fleet.commit(f"Ask for {new}")
    fleet.push()
    return commit


def commit_of_karnak(fleetctl: Fleetctl) -> str:
    boards = fleetctl("status", "-o", "json").json["boards"]
    return str(next(board["commit"] for board in boards if board["board"] == "karnak-01"))


def test_an_old_job_that_is_run_again_takes_nothing_back(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """The way back is to revert, or to say --back; --adopt is about something else."""
    first = change(fleet, "0.6", "0.7")
    last = change(fleet, "0.7", "0.8")
    fleetctl("rollout", "--yes", "--commit", last)
    fleet.git("checkout", "-q", first)
    refused = fleetctl("rollout", "--yes", "--commit", first)
    adopting = fleetctl("rollout", "--yes", "--commit", first, "--adopt")
    still = commit_of_karnak(fleetctl)
    planned = fleetctl("plan"), fleetctl("plan", "--back")
    meant = fleetctl("rollout", "--yes", "--commit", first, "--back")

    assert (31, 31, 31) == (refused.status, adopting.status, planned[0].status)
    assert f"karnak-01 runs a release of commit {last[:12]}, which came after {first[:12]}" in refused.err
    assert "say --back to go back on purpose" in refused.err
    assert last == still
    assert (1, 0) == (planned[1].status, meant.status), meant.err
    assert first == commit_of_karnak(fleetctl)


def test_edits_of_an_old_commit_are_old_too(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """Who tries something on an old checkout may not know what came since."""
    first = fleet.head
    change(fleet, "0.6", "0.7")
    fleetctl("rollout", "--yes")
    fleet.git("checkout", "-q", first)
    fleet.edit("threshold: 0.6", "threshold: 0.1")

    assert 31 == fleetctl("rollout", "--yes").status


def test_a_revert_is_no_way_back_in_history(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """It comes after what it takes back; and a release that is the same is taken from nobody."""
    change(fleet, "0.6", "0.7")
    fleetctl("rollout", "--yes", "--commit", "HEAD")
    fleet.git("revert", "--no-edit", "HEAD")
    fleet.push()
    reverted = fleetctl("rollout", "--yes", "--commit", "HEAD")
    same = fleetctl("rollout", "--yes", "--commit", "HEAD~2")

    assert (0, 0) == (reverted.status, same.status), reverted.err + same.err


def test_rolling_back_and_on_again_is_free(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """`rollback` is the way back that is meant; what is checked out is newer than what boards run then."""
    fleetctl("rollout", "--yes")
    change(fleet, "0.6", "0.7")
    fleetctl("rollout", "--yes")
    back = fleetctl("rollback", "--on", "karnak-01", "--yes")
    again = fleetctl("rollout", "--yes")

    assert (0, 0) == (back.status, again.status), back.err + again.err
    assert fleet.head == commit_of_karnak(fleetctl)


def test_a_clone_whose_history_is_cut_short_is_told_to_fetch(
    fleet: GitFleet, fleetctl: Fleetctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit is nobody else's: overwriting it is no advice."""
    first = fleet.head
    fleetctl("rollout", "--yes", "--commit", "HEAD")
    change(fleet, "0.6", "0.7")
    shallow = fleet.root.parent / "shallow"
    fleet.git("clone", "-q", "--depth", "1", f"file://{fleet.root.parent}/origin.git", str(shallow))
    for kept in (".fleetctl", "model_artifacts/store"):
        shutil.copytree(fleet.root / kept, shallow / kept)
    monkeypatch.chdir(shallow)
    refused, status = fleetctl("rollout", "--yes", "--commit", "HEAD"), fleetctl("status")
    GitFleet(shallow).git("fetch", "-q", "--unshallow")

    assert 31 == refused.status
    assert f"this clone's history is cut short, and has no commit {first[:12]}" in refused.err
    assert "fetch-depth: 0" in refused.err
    assert "--adopt" not in refused.err
    assert "history is cut short" in " ".join(status.out.split())
    assert 0 == fleetctl("rollout", "--yes", "--commit", "HEAD").status
