"""The way back: to which release, from which files, and what lies around afterwards."""

import os
from pathlib import Path

import pytest
from tiny_board import LABELS, TinyBoard, TinyRelease, powered, tiny_contract, tiny_release


def test_a_confirmed_release_can_be_left(board: TinyBoard, good: TinyRelease) -> None:
    """A rollback later on goes to the release that was confirmed before, and proves it."""
    other = tiny_release(board.port, threshold=0.9)
    board.install(other)
    reply = board.ask("revert", {"to": None, "reason": "the wave failed"})
    assert (reply["state"], reply["current"]) == ("reverted", good.digest)
    assert (reply["receipt"]["release"], reply["receipt"]["outcome"]) == (good.digest, "passed")
    assert board.ask("observe")["good"] == board.serves() == good.digest
    assert board.ask("revert", {"to": "0" * 64, "reason": ""})["code"] == "unknown-release"


def test_asked_to_go_back_again_it_stays(board: TinyBoard, good: TinyRelease) -> None:
    """Who gives the command again means boards that could not be asked; the history tells of it once."""
    bad = tiny_release(board.port, threshold=0.9)
    board.install(bad)
    board.ask("revert", {"to": None, "reason": "it sees double"})
    pid = board.healthz()["pid"]
    again = board.ask("revert", {"to": None, "reason": "it sees double"})

    assert (again["state"], again["stayed"], again["current"]) == ("reverted", True, good.digest)
    assert (board.serves(), board.healthz()["pid"]) == (good.digest, pid)
    told = board.ask("history", {"last": 50})["receipts"]
    assert [good.digest] == [each["release"] for each in told if each.get("left") == bad.digest]


def test_told_to_go_to_what_it_runs_it_has_not_gone_back(board: TinyBoard, good: TinyRelease) -> None:
    """It left that release for itself; asked for the one before, it goes there."""
    other = tiny_release(board.port, threshold=0.9)
    board.install(other)
    board.ask("revert", {"to": other.digest, "reason": "by its name"})
    reply = board.ask("revert", {"to": None, "reason": "to the one before"})

    assert (reply.get("stayed"), board.serves()) == (None, good.digest), reply


def test_a_release_that_was_left_is_nothing_to_go_back_to(board: TinyBoard, good: TinyRelease) -> None:
    """The next release after a way back goes back to what was kept then, not to what was left."""
    board.install(tiny_release(board.port, threshold=0.9))
    board.ask("revert", {"to": None, "reason": "it sees double"})
    board.ask("activate", *board.activation(good))  # asked for again, and so kept for a reason of its own
    board.ask("confirm", {"release": good.digest})
    board.install(tiny_release(board.port, threshold=0.8))

    assert board.ask("revert", {"to": None, "reason": "so does this one"})["current"] == good.digest


@pytest.mark.parametrize("path", ["config/serve.json", "runtime/serve.py", "model/model.tflite"])
def test_a_release_that_was_altered_is_mended_to_be_gone_back_to(
    board: TinyBoard, good: TinyRelease, path: str
) -> None:
    """Its service ran on from memory; the blob that the file was made of lies there still."""
    altered = board.root / "current" / path
    data = altered.read_bytes()
    altered.unlink()
    altered.write_bytes(data + b" ")
    bad = good.with_file("model/contract.json", tiny_contract(labels=LABELS[::-1]).to_json())

    assert board.activate(bad)["state"] == "reverted"
    assert board.serves() == good.digest
    assert altered.read_bytes() == data


def test_a_release_that_lost_a_file_is_mended_at_the_next_start(board: TinyBoard, good: TinyRelease) -> None:
    """A card that fails takes a file away; the board has its bytes, and needs nobody to send them."""
    lost = board.root / "current" / "runtime" / "serve.py"
    lost.unlink()
    board.cut_power()

    assert board.ask("recover")["state"] == "clean"
    assert board.serves() == good.digest


def test_releases_that_failed_do_not_pile_up(board: TinyBoard, good: TinyRelease) -> None:
    """The one that failed last is kept, for most of it is in the one that mends it."""
    before = tiny_release(board.port, threshold=0.1)
    board.install(before)
    board.install(good)
    for number in range(5):
        labels = tiny_contract(labels=LABELS[::-1], model=f"try-{number}")
        bad = good.with_file("model/contract.json", labels.to_json())
        assert board.activate(bad)["state"] == "reverted"

    staged = {path.name for path in (board.root / "releases").iterdir()}
    assert {good.digest, before.digest, bad.digest} == staged


def test_the_service_s_user_can_read_what_a_careful_root_lays_out(
    tmp_path: Path,
) -> None:
    """Hardened images have root's umask at 077; the unit's service is not root."""
    with powered(tmp_path / "root") as board:
        release = tiny_release(board.port)
        request, payload = board.activation(release)
        umask = os.umask(0o077)
        try:
            assert board.ask("activate", request, payload)["state"] == "pending"
        finally:
            os.umask(umask)
        modes = {path: path.stat().st_mode & 0o777 for path in (board.root / "releases").rglob("*")}

    assert len(modes) > len(release.files)
    assert [] == [path for path, mode in modes.items() if not mode & 0o004]
    assert [] == [path for path, mode in modes.items() if path.is_dir() and not mode & 0o001]


def test_there_is_nothing_before_the_first(board: TinyBoard) -> None:
    """Going back from the only release is refused, and it goes on serving."""
    release = tiny_release(board.port)
    board.install(release)
    assert board.ask("revert", {})["code"] == "nothing-before"
    assert board.serves() == release.digest
