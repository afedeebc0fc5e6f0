"""The watcher undoes what nobody confirms, whatever goes wrong around it."""

import subprocess
import time
from collections.abc import Iterator

import pytest
from tiny_board import TinyBoard, TinyRelease, powered, tiny_release

from fleetctl.transports import board_script, wire


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyBoard]:
    with powered(tmp_path_factory.mktemp("watched") / "root") as board:
        yield board


def wait_for(board: TinyBoard, text: str) -> None:
    log = board.root / "state" / "watch.log"
    give_up = time.monotonic() + 20
    while text not in log.read_text():
        assert time.monotonic() < give_up


def test_what_cannot_be_read_for_a_while_is_read_again(board: TinyBoard, good: TinyRelease) -> None:
    """An error of the disk does not end the watcher: nobody else would undo what is on probation."""
    assert board.activate(tiny_release(board.port, threshold=0.9), confirm_timeout=1.0)["state"] == "pending"
    pending = board.root / "state" / "pending.json"
    pending.rename(pending.with_name("aside"))
    pending.mkdir()
    wait_for(board, "Is a directory")
    pending.rmdir()
    pending.with_name("aside").rename(pending)

    board.wait_until_settled()
    assert board.serves() == board.current == good.digest


@pytest.mark.parametrize("is_watched", [True, False], ids=["watched", "after a boot"])
def test_a_damaged_record_of_a_probation_ends_it(
    board: TinyBoard, good: TinyRelease, is_watched: bool
) -> None:
    """A release that nobody knows to be good does not stay because the note of its trial was torn."""
    assert board.activate(tiny_release(board.port, threshold=0.9))["state"] == "pending"
    if not is_watched:
        board.cut_power()
    (board.root / "state" / "pending.json").write_bytes(b'{"release": "')
    if is_watched:
        board.wait_until_settled()
    else:
        assert board.ask("recover", options=["--before-start"])["state"] == "reverting"
        assert board.ask("recover")["state"] == "reverted"
    assert board.serves() == board.current == good.digest
    assert "the record of its probation is damaged" in board.ask("observe", {})["receipt"]["reasons"]


def test_a_damaged_record_of_nothing_is_removed(board: TinyBoard, good: TinyRelease) -> None:
    """Where the good release runs, there is nothing to undo."""
    record = board.root / "state" / "pending.json"
    record.write_bytes(b"\0" * 40)
    assert board.ask("recover")["state"] == "clean"
    assert not record.exists()
    assert board.serves() == board.current == good.digest


def test_nothing_is_tried_without_a_watcher(board: TinyBoard, good: TinyRelease) -> None:
    """Where none can be started, the reply says so, and nothing is left under way."""
    log = board.root / "state" / "watch.log"
    log.unlink(missing_ok=True)
    log.mkdir()
    try:
        reply = board.activate(tiny_release(board.port, threshold=0.8))
    finally:
        log.rmdir()
    assert (reply["code"], reply["error"]) == (
        "watcher-failed",
        "the watcher did not start, so nothing was changed",
    )
    assert not board.pending
    assert board.serves() == board.current == good.digest


def test_litter_that_cannot_be_removed_keeps_no_board_on_probation(
    board: TinyBoard, good: TinyRelease
) -> None:
    """Somebody's folder with the name of a half-written file is complained of, and left alone."""
    litter = board.root / ".new.folder"
    litter.mkdir()
    try:
        assert (
            board.activate(tiny_release(board.port, threshold=0.7), confirm_timeout=0.1)["state"] == "pending"
        )
        board.wait_until_settled()
    finally:
        litter.rmdir()
    assert board.serves() == board.current == good.digest


def test_a_board_that_can_write_no_more_starts_what_it_has(board: TinyBoard, good: TinyRelease) -> None:
    """A dying card is mounted so that it can only be read: that is no reason to serve nothing."""
    lock = board.root / "state" / "lock"
    lock.unlink()
    lock.mkdir()  # so that it cannot be opened to be written to, by anybody
    try:
        assert board.ask("recover", options=["--before-start"])["state"] == "clean"
    finally:
        lock.rmdir()
    assert board.serves() == board.current == good.digest


def test_its_log_says_what_became_of_a_release_that_was_sent(board: TinyBoard, good: TinyRelease) -> None:
    """A script that is sent gathers its reply from what would be standard output."""
    (board.root / "state" / "watch.log").unlink(missing_ok=True)
    request, payload = board.activation(tiny_release(board.port, threshold=0.75), confirm_timeout=0.1)
    script = board_script.whole("activate")
    subprocess.run(
        wire.command("activate", str(board.root), script),
        input=wire.standard_input(script, request, payload),
        check=True,
    )
    wait_for(board, "watch: reverted")
    board.wait_until_settled()
    assert board.serves() == board.current == good.digest


def test_a_bundle_that_drips_in_holds_up_nobody(board: TinyBoard, good: TinyRelease) -> None:
    """Over a slow line a small one takes longer than a probation, which ends meanwhile; then it is tried."""
    other = tiny_release(board.port, threshold=0.815)  # nobody else brought
    request, payload = board.activation(other)
    assert board.activate(tiny_release(board.port, threshold=0.9), confirm_timeout=1.0)["state"] == "pending"
    verb = board.start("activate", request, payload[:-600], is_all=False)
    board.wait_until_settled()
    assert board.serves() == good.digest

    assert verb.stdin is not None
    verb.stdin.write(payload[-600:])
    assert board.finish(verb)["state"] == "pending"
