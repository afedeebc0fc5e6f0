"""Fixtures that every test may use."""

import os
import signal
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    """A shell starts what it puts into the background deaf to Ctrl-C, and so would be what tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photos and compiled models that stay outside the project; tests skip aloud without them."""
    folder = Path(os.environ.get("FLEETCTL_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}: set FLEETCTL_SHARED_DATA to run this test")
    return folder


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results must not depend on the caller's terminal, locale or fleetctl settings."""
    for name in [n for n in os.environ if n.startswith(("FLEETCTL_", "ANSIBLE_", "GITHUB_"))]:
        if name not in ("FLEETCTL_SHARED_DATA", "FLEETCTL_FONT"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
