"""The worlds of the contract suite as fixtures."""

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract_worlds import FakeWorld, LabWorld, Releases, World

from fleetctl.lab import control
from fleetctl.lab.state import Wanted
from fleetctl.store import BlobStore


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabWorld]:
    """Virtual boards on loopback, for all tests of the session."""
    world = LabWorld(tmp_path_factory.mktemp("lab"))
    with warnings.catch_warnings():
        # The lab's daemon is meant to outlive the call that started it; `control.down` ends it.
        warnings.simplefilter("ignore", ResourceWarning)
        control.up(world.files, [Wanted("lab-00")])
        gc.collect()
    yield world
    control.down(world.files, keep=False)


@pytest.fixture(params=["fake", pytest.param("ansible", marks=pytest.mark.e2e)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Every transport in turn."""
    if request.param == "fake":
        yield FakeWorld(tmp_path)
        return
    lab_world: LabWorld = request.getfixturevalue("lab")
    yield lab_world
    lab_world.retire()


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    """Orders for a tiny real model."""
    return Releases(BlobStore(tmp_path_factory.mktemp("store")))
