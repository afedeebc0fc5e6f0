"""What properties of fleets share: one store for all examples of a file, for releases are dear to make."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetctl.store import BlobStore


@pytest.fixture(scope="module")
def store() -> Iterator[BlobStore]:
    with tempfile.TemporaryDirectory() as folder:
        yield BlobStore(Path(folder))
