"""Patches between blobs of a store: made once, where they pay."""

import random
from pathlib import Path

import pytest

from fleetctl.delta import WORTH_TRYING, Deltas
from fleetctl.device.delta import MOST, patched
from fleetctl.store import BlobStore, sha256

NOISE = random.Random(5)  # as weights are
OLD = NOISE.randbytes(20_000)
NEW = OLD[:15_000] + NOISE.randbytes(400) + OLD[15_000:]


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store")


def test_a_patch_is_made_once(store: BlobStore) -> None:
    """It is kept beside the blobs, and taken from there by every process; an altered one is made anew."""
    deltas, pair = Deltas(store), (store.put(OLD), store.put(NEW))
    delta = deltas.between(*pair)
    assert delta
    assert len(delta.data) < 600
    assert patched(OLD, delta.data, len(NEW)) == NEW

    (kept,) = (store.root / "deltas").iterdir()
    before = kept.stat().st_mtime_ns
    assert Deltas(store).between(*pair) == delta
    assert before == kept.stat().st_mtime_ns
    kept.write_bytes(kept.read_bytes()[:-1])
    assert deltas.between(*pair) == delta


def test_another_model_altogether_is_not_told_by_a_patch(store: BlobStore) -> None:
    """That none pays is kept too: finding it out is what takes long."""
    pair = (store.put(OLD), store.put(NOISE.randbytes(20_000)))
    assert Deltas(store).between(*pair) is None
    (kept,) = (store.root / "deltas").iterdir()
    assert kept.read_bytes() == sha256(b"").encode()
    assert Deltas(store).between(*pair) is None


@pytest.mark.parametrize(("old", "new"), [(WORTH_TRYING - 1, 20_000), (20_000, WORTH_TRYING - 1)])
def test_small_blobs_are_sent_whole(store: BlobStore, old: int, new: int) -> None:
    """They deflate to next to nothing."""
    assert Deltas(store).between(store.put(bytes(old)), store.put(bytes(new) + b"1")) is None


def test_large_blobs_are_sent_whole(store: BlobStore) -> None:
    """Looking for what is other in them takes minutes, and a board's memory to undo."""
    assert Deltas(store).between(store.put(bytes(MOST + 1)), store.put(bytes(MOST))) is None
    assert not (store.root / "deltas").exists()


def test_a_blob_that_is_not_here_has_no_patch(store: BlobStore) -> None:
    """What a board runs may have been built elsewhere; and an altered blob is nothing to start from."""
    new, old = store.put(NEW), store.put(OLD)
    assert Deltas(store).between("0" * 64, new) is None
    store.path(old).chmod(0o644)
    store.path(old).write_bytes(OLD[::-1])
    assert Deltas(store).between(old, new) is None
