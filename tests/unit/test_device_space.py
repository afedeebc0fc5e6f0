"""A disk with little room: what goes for a new release, and what stays."""

import io
from pathlib import Path
from typing import Any

import pytest
from tiny_board import TinyRelease, bundle, tiny_release

from fleetctl.device.activate import no_checkpoint
from fleetctl.device.activate_verb import receive_release
from fleetctl.device.call import Call
from fleetctl.device.layout import Board
from fleetctl.device.release_files import altered_files, parse_manifest
from fleetctl.device.space import sweep

RELEASE = tiny_release(8091)
NEXT = RELEASE.with_file("model/notes.txt", b"a note")


@pytest.fixture
def board(tmp_path: Path) -> Board:
    board = Board(str(tmp_path / "root"))
    board.make_folders()
    return board


def receive(board: Board, release: TinyRelease, blobs: dict[str, bytes]) -> None:
    """Stage a release with only these of its blobs in the bundle."""
    payload = bundle(blobs) if blobs else b""
    request: dict[str, Any] = {"bundle_bytes": len(payload)}
    call = Call(board, request, io.BytesIO(payload), no_checkpoint, "", False)
    manifest = release.release.manifest.decode()
    receive_release(call, release.digest, manifest, parse_manifest(manifest, release.digest))


def free_bytes(monkeypatch: pytest.MonkeyPatch, *told: int) -> None:
    """What the disk says of its room, time after time; plenty at last."""
    answers = iter(told)
    monkeypatch.setattr("fleetctl.device.space.free_bytes", lambda _: next(answers, 1 << 40))


def test_what_came_before_the_line_broke_stays(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blobs of the release that is on its way belong to none yet, and are not sent again."""
    first, *others = RELEASE.blobs
    Path(board.blob(first)).write_bytes(RELEASE.blobs[first])
    Path(board.blob("0" * 64)).write_bytes(b"nobody's")
    free_bytes(monkeypatch, 0)
    receive(board, RELEASE, {digest: RELEASE.blobs[digest] for digest in others})

    assert altered_files(board, RELEASE.digest) == []
    assert not Path(board.blob("0" * 64)).exists()


def test_a_snapshot_takes_no_room_from_what_runs(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """A board that lost its note of the adoption takes another snapshot, and keeps what it runs."""
    receive(board, RELEASE, RELEASE.blobs)
    board.point_at(RELEASE.digest)
    Path(board.in_state("adopted.json")).unlink()
    (Path(board.root) / "notes.txt").write_text("somebody's")
    free_bytes(monkeypatch, 1 << 40, 0)
    receive(board, NEXT, {digest: NEXT.blobs[digest] for digest in NEXT.blobs.keys() - RELEASE.blobs.keys()})

    assert board.current == RELEASE.digest
    assert altered_files(board, NEXT.digest) == altered_files(board, RELEASE.digest) == []


def test_a_release_without_its_manifest_is_put_right(board: Board) -> None:
    """Somebody deleted the one file that says what the others are."""
    receive(board, RELEASE, RELEASE.blobs)
    (Path(board.release(RELEASE.digest)) / "release.json").unlink()
    receive(board, RELEASE, {})

    assert altered_files(board, RELEASE.digest) == []


def test_keys_are_nobody_elses_files(board: Board) -> None:
    """What a board was told to trust is in no snapshot, from which leaving it would bring old keys back."""
    Path(board.trust).mkdir()
    (Path(board.trust) / "trust.json").write_text("{}")
    receive(board, RELEASE, RELEASE.blobs)

    assert not Path(board.snapshots).exists()


def test_a_snapshot_that_was_cut_short_goes(board: Board) -> None:
    """Each try would otherwise keep as much of the disk as there was to keep."""
    whole, cut = Path(board.snapshots, "2026-11-28.tar"), Path(board.snapshots, ".new.17")
    whole.parent.mkdir()
    for path in (whole, cut):
        path.write_bytes(b"what was there")
    sweep(board)

    assert [whole] == list(whole.parent.iterdir())
