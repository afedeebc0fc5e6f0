"""What a board takes in: blobs whole, by what is other in them, and as the rest of what came before."""

import io
import os
import random
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from patches import patch
from tiny_board import bundle

from fleetctl.device.activate import no_checkpoint
from fleetctl.device.begun import WORTH_KEEPING, append, begun
from fleetctl.device.blobs import spare_blobs
from fleetctl.device.board_error import BoardError
from fleetctl.device.bundle import LimitedReader, ReadAhead, receive_blobs
from fleetctl.device.delta import MOST
from fleetctl.device.files import names
from fleetctl.device.layout import Board
from fleetctl.device.space import collect, sweep
from fleetctl.store import sha256

NOISE = random.Random(7)
OLD = NOISE.randbytes(WORTH_KEEPING * 2)
NEW = OLD[:-5000] + NOISE.randbytes(5000)
PATCH = patch(OLD, NEW)
OTHER = NOISE.randbytes(WORTH_KEEPING)
BY_PATCH = f"{sha256(NEW)}/{sha256(OLD)}/{sha256(PATCH)}"
HALF = WORTH_KEEPING
SIZES = {sha256(data): len(data) for data in (NEW, OTHER)}


@pytest.fixture
def board(tmp_path: Path) -> Board:
    board = Board(str(tmp_path / "root"))
    board.make_folders()
    return board


@pytest.fixture
def old(board: Board) -> Path:
    path = Path(board.blob(sha256(OLD)))
    path.write_bytes(OLD)
    return path


def receive(board: Board, members: Mapping[str, bytes], *, cut: int = 0) -> None:
    sent = bundle(members)
    receive_blobs(board, io.BytesIO(sent[: len(sent) - cut]), len(sent), SIZES, no_checkpoint)


def refused(board: Board, members: Mapping[str, bytes], *, cut: int = 0) -> str:
    with pytest.raises(BoardError) as caught:
        receive(board, members, cut=cut)
    return caught.value.code


def has(board: Board, data: bytes) -> bool:
    path = Path(board.blob(sha256(data)))
    return path.exists() and path.read_bytes() == data and path.stat().st_mode & 0o777 == 0o444


def cut_in_the_midst(board: Board, name: str, data: bytes) -> int:
    """The line breaks when about half of a member has come; returns how much of it stayed."""
    assert refused(board, {name: data}, cut=len(bundle({name: data})) - 512 - len(data) // 2) == "bad-bundle"
    ((_, size),) = begun(board).items()
    return size


def test_a_patch_makes_a_blob_of_another(board: Board, old: Path) -> None:
    """It is the blob, to the byte, and the other one stays."""
    receive(board, {BY_PATCH: PATCH})
    assert has(board, NEW)
    assert old.read_bytes() == OLD
    assert begun(board) == {}


def test_a_patch_for_what_is_not_here_is_refused(board: Board, old: Path) -> None:
    """For a blob that was altered too, or is not what anybody would make a patch for: nothing is kept."""
    old.write_bytes(OLD[:-1] + b"!")
    assert refused(board, {BY_PATCH: PATCH}) == "unknown-base"
    with old.open("r+b") as stream:
        stream.truncate(MOST + 1)
    assert refused(board, {BY_PATCH: PATCH}) == "unknown-base"
    old.unlink()
    assert refused(board, {BY_PATCH: PATCH}) == "unknown-base"
    assert not set(names(board.blobs)) - {old.name}


@pytest.mark.usefixtures("old")
def test_a_patch_that_makes_another_blob_is_refused(board: Board) -> None:
    """Whole as it is, it is for something else: the digest of what it makes decides."""
    other = patch(OLD, NEW[:-1] + b"!")
    assert refused(board, {f"{sha256(NEW)}/{sha256(OLD)}/{sha256(other)}": other}) == "bad-bundle"
    assert not has(board, NEW)


def test_a_patch_is_checked_before_it_is_read(board: Board, old: Path) -> None:
    """One that arrived damaged, one that is not smaller than its blob, one for a blob nobody asked for."""
    assert refused(board, {BY_PATCH: PATCH[::-1]}) == "bad-bundle"
    assert refused(board, {BY_PATCH: bytes(len(NEW))}) == "bad-bundle"
    assert refused(board, {BY_PATCH.replace(sha256(NEW), "0" * 64): PATCH}) == "bad-bundle"
    assert names(board.blobs) == [old.name]


def test_what_came_of_a_large_blob_is_continued(board: Board) -> None:
    """A line that breaks costs what was under way on it, and the rest makes the blob whole."""
    size = cut_in_the_midst(board, sha256(NEW), NEW)
    assert len(NEW) // 2 - (64 << 10) <= size <= len(NEW) // 2
    assert not names(board.blobs)

    receive(board, {f"{sha256(NEW)}/{size}": NEW[size:]})
    assert has(board, NEW)
    assert begun(board) == {}


def test_the_rest_may_break_off_too(board: Board) -> None:
    """Again and again: each time some of it stays. A controller may also go back to an earlier place."""
    size = cut_in_the_midst(board, sha256(NEW), NEW)
    more = cut_in_the_midst(board, f"{sha256(NEW)}/{size}", NEW[size:])
    assert more > size
    back = size - 1000
    receive(board, {f"{sha256(NEW)}/{back}": NEW[back:]})
    assert has(board, NEW)


@pytest.mark.usefixtures("old")
def test_a_large_patch_is_continued(board: Board) -> None:
    """As a blob is; it becomes one by what it makes."""
    new = OLD[:100_000] + NOISE.randbytes(WORTH_KEEPING) + OLD[100_000:]
    large = patch(OLD, new)
    name, SIZES[sha256(new)] = f"{sha256(new)}/{sha256(OLD)}/{sha256(large)}", len(new)
    size = cut_in_the_midst(board, name, large)
    receive(board, {f"{name}/{size}": large[size:]})
    assert has(board, new)
    assert begun(board) == {}


def test_a_beginning_that_is_not_the_blobs_is_dropped(board: Board) -> None:
    """What a power cut left of it may be anything: the whole is not what it should be, and goes."""
    size = cut_in_the_midst(board, sha256(NEW), NEW)
    path = Path(board.begun) / sha256(NEW)
    path.write_bytes(bytes(size))
    assert refused(board, {f"{sha256(NEW)}/{size}": NEW[size:]}) == "bad-bundle"
    assert begun(board) == {}
    assert not has(board, NEW)


def test_the_rest_of_what_did_not_come_is_refused(board: Board) -> None:
    """As blobs that are missing are; with less than was said, too."""
    assert refused(board, {f"{sha256(NEW)}/{HALF}": NEW[HALF:]}) == "missing-blobs"
    size = cut_in_the_midst(board, sha256(NEW), NEW)
    assert refused(board, {f"{sha256(NEW)}/{size + 1}": NEW[size + 1 :]}) == "missing-blobs"
    assert refused(board, {f"{sha256(NEW)}/{size}": NEW[size + 1 :]}) == "bad-bundle"


def test_one_beginning_is_kept_at_most(board: Board) -> None:
    """Another large blob takes its place, a release that came whole ends it, and so does a want of room."""
    cut_in_the_midst(board, sha256(NEW), NEW)
    cut_in_the_midst(board, sha256(OTHER), OTHER)
    assert list(begun(board)) == [sha256(OTHER)]
    receive(board, {sha256(NEW): NEW})
    assert begun(board) == {}
    cut_in_the_midst(board, sha256(OTHER), OTHER)
    collect(board, set(), at_least=0)
    assert begun(board) == {}


def test_a_beginning_that_nobody_continued_goes_after_a_week(board: Board) -> None:
    """Until then, every verb that tidies up leaves it."""
    cut_in_the_midst(board, sha256(NEW), NEW)
    sweep(board)
    assert list(begun(board)) == [sha256(NEW)]
    os.utime(Path(board.begun) / sha256(NEW), (1e9, 1e9))
    sweep(board)
    assert begun(board) == {}


def test_a_full_disk_keeps_no_beginning(board: Board) -> None:
    """The room is needed for what may come instead."""

    path = Path(board.begun) / sha256(NEW)
    path.parent.mkdir()
    path.write_bytes(b"some")
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(OSError, match="No space"):
        append(full, io.BytesIO(NEW), str(path))
    assert begun(board) == {}


@pytest.fixture
def silent() -> Iterator[io.BufferedReader]:
    """A line that brings a few bytes, and then neither more nor its end."""
    read, write = os.pipe()
    os.write(write, b"some")
    with os.fdopen(read, "rb") as stream:
        yield stream
    os.close(write)


def test_a_silent_line_is_given_up(silent: io.BufferedReader) -> None:
    """A controller that went without a word would else hold the board's lock until it boots."""
    assert threading.current_thread() is threading.main_thread()
    with pytest.raises(BoardError, match=r"nothing of the bundle came for 0\.2 s"):
        LimitedReader(silent, 1000, silence=0.2).read(1000)


def test_what_came_before_a_line_fell_silent_is_given_first() -> None:
    """Blobs of it that are whole are kept, and then the silence is told."""
    read, write = os.pipe()
    os.write(write, bytes(4096))
    with os.fdopen(read, "rb") as stream:
        ahead = ReadAhead(stream, 8000, silence=0.2)
    os.close(write)

    assert bytes(4096) == ahead.read(8000)
    with pytest.raises(BoardError, match="nothing of the bundle came"):
        ahead.read(8000)


@pytest.mark.usefixtures("old")
def test_large_blobs_of_releases_before_are_told(board: Board) -> None:
    """What the present release names, and what is as soon sent as asked about, is not."""
    receive(board, {sha256(OTHER): OTHER})
    Path(board.blob(sha256(b"small"))).write_bytes(b"small")

    assert sorted([sha256(OLD), sha256(OTHER)]) == spare_blobs(board, set())
    assert [sha256(OTHER)] == spare_blobs(board, {sha256(OLD)})
