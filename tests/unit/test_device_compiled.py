"""What a board keeps of its own modules is kept anew where it was damaged."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from fleetctl.device import compiled
from fleetctl.device.layout import Board


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    """One that keeps modules."""
    board = Board(str(tmp_path))
    board.make_folders()
    monkeypatch.setattr(compiled, "__spec__", SimpleNamespace(loader=SimpleNamespace(codes={})))
    compiled.keep_those_of(board, "0" * 64)
    return board


def test_damaged_modules_are_kept_anew(board: Board) -> None:
    """Their beginning alone does not tell: such a board would be sent every module for ever."""
    kept = Path(board.in_state(compiled.COMPILED))
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1] + b"?")
    compiled.keep_those_of(board, "0" * 64)

    assert whole == kept.read_bytes()


def test_whole_modules_are_left_alone(board: Board) -> None:
    """A card wears out with every write."""
    kept = Path(board.in_state(compiled.COMPILED))
    before = kept.stat().st_ino
    compiled.keep_those_of(board, "0" * 64)

    assert before == kept.stat().st_ino
