"""The worlds of the contract suite as fixtures."""

import gc
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract_worlds import FakeWorld, LabWorld, Releases, World
from iothub_world import azure_world, iothub_world

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


AZURE_HUB = "FLEETCTL_TEST_AZURE_CONNECTION_STRING"
_HUB = os.environ.get(AZURE_HUB, "").strip()  # now: tests see nothing of what is set for fleetctl
IOTHUB = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("iothub"),  # devices know one port, and not every system has a second loopback
    pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLSv1_2 is deprecated"),  # the SDK's own choice
]


def azure_hub() -> str:
    """The connection string of the hub that `make test-azure` runs against."""
    if not _HUB:
        pytest.skip(f"no hub to run against: set {AZURE_HUB} to the connection string of one for tests")
    return _HUB


@pytest.fixture(
    params=[
        "fake",
        pytest.param("ansible", marks=pytest.mark.e2e),
        pytest.param("iothub", marks=IOTHUB),
        *([pytest.param("azure", marks=IOTHUB)] if "FLEETCTL_TEST_AZURE" in os.environ else []),
    ]
)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Every transport in turn."""
    if request.param == "fake":
        yield FakeWorld(tmp_path)
        return
    if request.param == "iothub":
        yield from iothub_world(tmp_path)
        return
    if request.param == "azure":
        yield from azure_world(tmp_path, azure_hub())
        return
    lab_world: LabWorld = request.getfixturevalue("lab")
    yield lab_world
    lab_world.retire()


@pytest.fixture(params=["fake", pytest.param("ansible", marks=pytest.mark.e2e)])
def without_hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Every transport that speaks to boards itself."""
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
