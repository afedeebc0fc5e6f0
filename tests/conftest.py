"""Fixtures that every test may use."""

import os
import re
import signal
from pathlib import Path
from typing import Any

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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a group on one worker: xdist 3.8 marks them in a way that pytest 9.2 does not see.

    Groups are those that files name by `xdist_group`, and what a parameter calls `iothub`.
    """
    if config.getoption("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    named = re.compile(r'xdist_group\("([^"]+)"\)')
    root = config.rootpath
    texts = {path.relative_to(root).as_posix(): path.read_text() for path in root.glob("tests/**/test_*.py")}
    groups = {path: found.group(1) for path, text in texts.items() if (found := named.search(text))}

    class Grouped(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return "iothub" if "[iothub" in nodeid else groups.get(nodeid.partition("::")[0], nodeid)

    return Grouped(config, log)
