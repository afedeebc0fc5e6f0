"""What makes one blob of another: it always does, and never makes more than it may."""

import bz2
import lzma
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patches import patch

from fleetctl.device.board_error import BoardError
from fleetctl.device.delta import HEADER, MAGIC, STEP, STREAM, patched

SMALL = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20}]
blobs = st.binary(max_size=3000)
pieces = st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 400), st.binary(max_size=30)), max_size=6)


@st.composite
def related(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A blob, and one that is put together from pieces of it, moved, and of new bytes."""
    old = draw(blobs)
    new = b"".join(old[start : start + length] + fresh for start, length, fresh in draw(pieces))
    return old, new


def stream(data: bytes, coder: bytes = b"z") -> bytes:
    ways = {b"z": zlib.compress, b"b": bz2.compress, b"x": lambda data: lzma.compress(data, filters=SMALL)}
    packed = ways[coder](data)
    return STREAM.pack(coder, len(packed)) + packed


@given(st.one_of(related(), st.tuples(blobs, blobs)))
def test_it_makes_the_new_blob_of_the_old(pair: tuple[bytes, bytes]) -> None:
    """For any two blobs, alike or not, empty ones too."""
    old, new = pair
    assert new == patched(old, patch(old, new), len(new))


@given(related(), st.integers(0, 10_000), st.binary(min_size=1, max_size=8), st.booleans())
def test_a_damaged_one_is_refused_or_makes_as_many_bytes(
    pair: tuple[bytes, bytes], where: int, bits: bytes, is_cut: bool
) -> None:
    """A board answers with a code of its own, and leaves it to the digest whether the bytes are right."""
    old, new = pair
    whole = patch(old, new)
    where %= len(whole)
    damaged = whole[:where] + (b"" if is_cut else bits + whole[where + len(bits) :])
    try:
        assert len(patched(old, damaged, len(new))) == len(new)
    except BoardError as error:
        assert error.code == "bad-bundle"


@given(blobs, st.binary(max_size=200), st.integers(0, 1 << 40))
def test_anything_else_is_refused(old: bytes, noise: bytes, size: int) -> None:
    """Neither noise nor noise behind a good beginning is more than a refusal."""
    for data in (noise, HEADER.pack(MAGIC, size) + noise):
        with pytest.raises(BoardError) as caught:
            patched(old, data, size or 1)
        assert caught.value.code == "bad-bundle"


@pytest.mark.parametrize("coder", [b"z", b"b", b"x"])
def test_streams_that_do_not_end_cost_no_memory(coder: bytes) -> None:
    """16 MiB of zeros in each stream of a patch for 100 bytes: it is read as far as it is believed."""
    bomb = stream(bytes(16 << 20), coder)
    endless = HEADER.pack(MAGIC, 100) + stream(STEP.pack(0, 10, 1) + bytes(99), coder) + bomb + bomb
    generous = HEADER.pack(MAGIC, 100) + stream(STEP.pack(50, 50, 0), coder) + bomb + bomb
    tracemalloc.start()
    try:
        assert bytes(100) == patched(bytes(50), generous, 100)
        with pytest.raises(BoardError, match="no progress"):
            patched(b"", endless, 100)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_stream_that_asks_for_much_memory_is_refused() -> None:
    """LZMA lets a stream say how much its reader needs."""
    greedy = lzma.compress(bytes(100), filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 64 << 20}])
    data = HEADER.pack(MAGIC, 100) + 3 * (STREAM.pack(b"x", len(greedy)) + greedy)
    with pytest.raises(BoardError, match=r"[Mm]emory"):
        patched(b"", data, 100)


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([(60, 0, 0)], "old one does not have"),
        ([(0, 0, -1), (1, 0, 0)], "old one does not have"),
        ([(0, 0, 1 << 62), (1, 0, 0)], "old one does not have"),
        ([(0, 0, 1 << 62), (0, 0, 0)], "no progress"),
        ([(10, 10, 0), (0, 0, 0)], "no progress"),
        ([(10, 10, 0), (90, 0, 0)], "more than it says"),
        ([(1 << 63, 1 << 63, 0)], "more than it says"),
        ([(10, 10, 0)], "too soon"),
    ],
)
def test_steps_stay_within_the_blobs(steps: list[tuple[int, int, int]], why: str) -> None:
    """No step reads before or behind the old blob, makes more than it should, or nothing for ever."""
    told = stream(b"".join(STEP.pack(*step) for step in steps))
    with pytest.raises(BoardError, match=why):
        patched(bytes(50), HEADER.pack(MAGIC, 100) + told + stream(bytes(200)) * 2, 100)
