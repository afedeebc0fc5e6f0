"""The lab's hub with the official SDKs as its clients."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from iothub_hub import Clients, hub_with_clients, settings


@pytest.fixture
def clients(tmp_path: Path) -> Iterator[Clients]:
    """The SDKs' clients of a fresh hub."""
    with hub_with_clients(settings(tmp_path / "hub")) as made:
        yield made
