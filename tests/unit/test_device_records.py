"""What a board notes reaches the disk where there is hardly any room, and whatever cannot be noted."""

import errno
import os
from pathlib import Path

import pytest

from fleetctl.device.activate import no_checkpoint
from fleetctl.device.activation import Activation
from fleetctl.device.durable import atomic_write
from fleetctl.device.layout import Board
from fleetctl.device.records import HISTORY_LIMIT
from fleetctl.device.recovery import recover

DIGEST = "5" * 64


@pytest.fixture
def activation(tmp_path: Path) -> Activation:
    """A board that somebody began to confirm a release on."""
    board = Board(str(tmp_path / "root"))
    board.make_folders()
    activation = Activation(board, no_checkpoint, "")
    activation.records.prepare()
    activation.records.write("pending.json", {"release": DIGEST, "phase": "keeping"})
    activation.records.write("receipt.json", {"release": DIGEST, "state": "pending"})
    return activation


@pytest.mark.parametrize(
    "record",
    [
        {"phase": "proved"},
        {"release": "five", "phase": "keeping"},
        {"release": DIGEST, "previous": 4, "phase": "trying"},
        {"release": DIGEST, "phase": "reverting"},
        {"release": DIGEST, "phase": "keeping", "told": []},
    ],
)
def test_a_record_that_lacks_what_it_needs_is_a_damaged_one(
    activation: Activation, record: dict[str, object]
) -> None:
    """A card may give back JSON that nobody wrote so: nothing then runs that is not known good."""
    activation.records.write("pending.json", record)

    assert {} == activation.records.pending  # no release of ours is current here
    assert "clean" == recover(activation)


def test_the_ballast_makes_room_for_what_is_good(
    activation: Activation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may have filled the disk since the confirmation was begun; it comes to its end all the same."""
    board = activation.board

    def full(path: str, data: bytes, mode: int = 0o644) -> None:
        if Path(board.in_state("ballast")).exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        atomic_write(path, data, mode)

    monkeypatch.setattr("fleetctl.device.layout.atomic_write", full)
    assert activation.finish_keeping()["state"] == "confirmed"
    assert (board.good, activation.records.pending) == (DIGEST, {})


def test_the_ballast_makes_room_for_the_way_back(
    activation: Activation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link takes room, too, on the file systems of some cards."""
    pointed = []

    def full(board: Board, digest: str) -> None:
        if Path(board.in_state("ballast")).exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        pointed.append(digest)

    monkeypatch.setattr(Board, "point_at", full)
    activation.point_back(DIGEST)
    assert pointed == [DIGEST]


def test_what_is_good_is_kept_where_its_receipt_cannot_be(activation: Activation) -> None:
    """A history that cannot be written does not keep every later verb from its work."""
    Path(activation.board.in_state("history.jsonl")).mkdir()
    assert activation.finish_keeping()["state"] == "confirmed"
    assert (activation.board.good, activation.records.pending) == (DIGEST, {})


def test_litter_that_cannot_be_cleared_away_does_not_undo_a_confirmation(activation: Activation) -> None:
    """Who confirmed would take an error for a release that is not kept, and go back everywhere."""
    Path(activation.board.blob("0" * 64)).mkdir()
    assert activation.finish_keeping()["state"] == "confirmed"


def test_a_long_history_takes_another_line_without_room_for_half_of_it(
    activation: Activation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is shortened as soon as it can be."""
    records, history = activation.records, Path(activation.board.in_state("history.jsonl"))
    history.write_bytes(b'{"release": "old"}\n' * (HISTORY_LIMIT // 19 + 1))

    def full(_path: str, _limit: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("fleetctl.device.records.shorten", full)
    records.keep({"release": DIGEST, "state": "pending"}, no_checkpoint)
    monkeypatch.undo()
    assert [r["release"] for r in records.history(1)] == [DIGEST]
    records.keep({"release": "next", "state": "pending"}, no_checkpoint)
    assert [r["release"] for r in records.history(2)] == [DIGEST, "next"]
    assert history.stat().st_size < HISTORY_LIMIT


def test_a_history_is_never_behind_the_receipt(activation: Activation) -> None:
    """Cut short between the two, what is done can be gone back to all the same."""
    records = activation.records

    def cut(step: str) -> None:
        if step == "confirmed-in-history":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        records.keep({"release": DIGEST, "state": "confirmed"}, cut)
    assert records.history(1) == [{"release": DIGEST, "state": "confirmed"}]
    assert records.receipt == {"release": DIGEST, "state": "pending"}
