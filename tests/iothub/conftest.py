"""The lab's hub with the official SDKs as its clients."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from contract_worlds import Releases
from iothub_hub import Clients, hub_with_clients, settings
from iothub_world import IotHubWorld, iothub_world

from fleetctl.store import BlobStore


@pytest.fixture
def clients(tmp_path: Path) -> Iterator[Clients]:
    """The SDKs' clients of a fresh hub."""
    with hub_with_clients(settings(tmp_path / "hub")) as made:
        yield made


@pytest.fixture
def world(tmp_path: Path) -> Iterator[IotHubWorld]:
    """A fresh hub with modules that run, and a transport to it."""
    yield from iothub_world(tmp_path)


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    return Releases(BlobStore(tmp_path_factory.mktemp("store")))
