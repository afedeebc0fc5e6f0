"""Leaving a board: what ran on it before the first release is there again, whatever was cut short."""

import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from tiny_board import TinyBoard, powered, tiny_release

from fleetctl.device.files import read_json
from fleetctl.device.layout import Board
from fleetctl.device.leave_verb import restore_absent
from fleetctl.device.snapshot import snapshot


@pytest.fixture
def board(tmp_path: Path) -> Iterator[TinyBoard]:
    """A board with somebody else's files in its root, on a confirmed release of ours."""
    with powered(tmp_path / "root") as board:
        app = board.root / "app-1.2"
        (app / "data").mkdir(parents=True)
        (app / "app.py").write_text("print('hello')\n")
        (app / "data" / "labels.txt").write_text("G17\n")
        (board.root / "current").symlink_to("app-1.2")
        board.install(tiny_release(board.port))
        yield board


def assert_as_before(board: TinyBoard) -> None:
    """Link and files of before, no service of ours, nothing under way, and to be adopted anew."""
    app = board.root / "app-1.2"
    assert (board.root / "current").readlink() == Path("app-1.2")
    assert (app / "app.py").read_text() == "print('hello')\n"
    assert (app / "data" / "labels.txt").read_text() == "G17\n"
    assert (board.serves(), board.pending, board.good) == (None, False, None)
    assert board.ask("observe")["foreign"] is True


def test_what_was_there_before_is_there_again(board: TinyBoard) -> None:
    """The link leads where it led, our service has ended, and the history says why."""
    reply = board.ask("leave", {"reason": "wrong board"})

    assert (reply["state"], reply["restored"]) == ("left", [])
    assert_as_before(board)
    receipt = board.ask("history", {"last": 1})["receipts"][0]
    assert (receipt["state"], receipt["reasons"], receipt["restored"]) == ("reverted", ["wrong board"], None)


def test_what_was_deleted_meanwhile_comes_back_from_the_snapshot(board: TinyBoard) -> None:
    """A file that is gone is restored; one that somebody changed since then stays as they want it."""
    (board.root / "app-1.2" / "data" / "labels.txt").unlink()
    (board.root / "app-1.2" / "data").rmdir()
    (board.root / "app-1.2" / "app.py").write_text("print('better')\n")

    assert board.ask("leave")["restored"] == ["app-1.2/data", "app-1.2/data/labels.txt"]
    assert (board.root / "app-1.2" / "data" / "labels.txt").read_text() == "G17\n"
    assert (board.root / "app-1.2" / "app.py").read_text() == "print('better')\n"


def test_nothing_is_restored_through_a_link(board: TinyBoard, tmp_path: Path) -> None:
    """A folder that has become a link to elsewhere is not written through."""
    elsewhere = tmp_path / "elsewhere"
    (board.root / "app-1.2" / "data").rename(elsewhere)
    (elsewhere / "labels.txt").unlink()
    (board.root / "app-1.2" / "data").symlink_to(elsewhere)

    assert board.ask("leave")["restored"] == []
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("step", ["leaving", "swapped-back", "serving-again", "reversal-recorded"])
def test_killed_while_leaving(board: TinyBoard, step: str) -> None:
    """Power that fails on the way does not keep the board: the same verb again finishes it."""
    assert board.ask("leave", crash_at=step) == {}
    board.cut_power()
    assert board.ask("recover")["ok"] is True

    assert board.ask("leave")["state"] == "left"
    assert_as_before(board)


def test_cut_short_in_the_midst_of_a_file(board: TinyBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a file is none that somebody has changed since then: the next try brings it back whole."""
    labels = board.root / "app-1.2" / "data" / "labels.txt"
    labels.unlink()
    folders = Board(str(board.root))
    adopted = read_json(folders.in_state("adopted.json"))

    def half(source: IO[bytes], target: IO[bytes], length: int, *_: object) -> None:
        target.write(source.read(length // 2))
        raise KeyboardInterrupt

    monkeypatch.setattr(tarfile, "copyfileobj", half)
    with pytest.raises(KeyboardInterrupt):
        restore_absent(folders, adopted)
    monkeypatch.undo()
    assert restore_absent(folders, adopted) == ["app-1.2/data/labels.txt"]
    assert labels.read_text() == "G17\n"
    assert [path.name for path in labels.parent.iterdir()] == ["labels.txt"]


def test_a_release_on_probation_is_left_too(board: TinyBoard) -> None:
    """Nobody has to confirm or revert first."""
    assert board.activate(tiny_release(board.port, threshold=0.4))["state"] == "pending"
    assert board.ask("leave")["state"] == "left"
    assert_as_before(board)


def test_a_board_that_was_left_can_be_adopted_again(board: TinyBoard) -> None:
    """The next first release takes a snapshot of its own, and can be undone as well."""
    assert board.ask("leave")["state"] == "left"
    (board.root / "app-1.2" / "new.txt").write_text("since then\n")
    board.install(tiny_release(board.port))
    (board.root / "app-1.2" / "new.txt").unlink()

    assert board.ask("leave")["restored"] == ["app-1.2/new.txt"]
    assert_as_before(board)


def test_what_ran_before_a_board_was_left_is_nothing_to_go_back_to(board: TinyBoard) -> None:
    """Its release of before lies there still, but the board was taken back from it."""
    assert board.ask("leave")["state"] == "left"
    anew = tiny_release(board.port, threshold=0.9)
    board.install(anew)

    assert board.ask("revert", {})["code"] == "nothing-before"
    assert board.serves() == anew.digest


def test_a_board_without_a_release_stays_as_it_is(tmp_path: Path) -> None:
    """Nothing is changed where nothing ever was, and that is no failure."""
    with powered(tmp_path / "root") as board:
        board.root.mkdir()
        (board.root / "current").symlink_to("app-1.2")
        reply = board.ask("leave")

    assert ("left", True) == (reply["state"], reply["stayed"])
    assert (board.root / "current").readlink() == Path("app-1.2")


def test_a_board_is_left_a_second_time_without_harm(board: TinyBoard) -> None:
    """A job that is run again succeeds, and what was brought back stays."""
    first, again = board.ask("leave"), board.ask("leave")

    assert ["left", "left"] == [first["state"], again["state"]]
    assert [None, True] == [first.get("stayed"), again.get("stayed")]
    assert_as_before(board)


def test_a_release_that_nobody_knows_the_way_back_from_is_not_left(board: TinyBoard) -> None:
    """What ran before is not known where its record is lost: the release goes on, and the reply says so."""
    (board.root / "state" / "adopted.json").unlink()
    reply = board.ask("leave")

    assert (False, "never-adopted") == (reply["ok"], reply["code"])
    assert "adopted.json" in reply["error"]
    assert board.serves() is not None


def test_a_snapshot_takes_no_other_ones_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A board without a clock of its own has the same time at each boot."""
    monkeypatch.setattr(time, "time", lambda: 0.0)
    board = Board(str(tmp_path))
    (tmp_path / "own").write_text("first")
    taken = [snapshot(board, ["own"], None) for _ in range(2)]

    assert ["1970-01-01T000000Z.tar", "1970-01-01T000000Z.2.tar"] == [Path(path).name for path in taken]
    assert all(Path(path).is_file() for path in taken)
