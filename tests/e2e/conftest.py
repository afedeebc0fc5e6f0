"""Virtual boards and a real browser for tests: on loopback, and gone when the tests are."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from virtual_lab import Lab, MakeLab

from fleetctl.lab import control, processes
from fleetctl.lab.state import LabFiles

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def _end(lab: Lab) -> None:
    homes = [lab.files.home(path.name) for path in lab.files.boards.glob("*")]
    control.down(lab.files, keep=False)
    assert processes.running(homes) == []
    assert not lab.files.folder.exists()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with two boards, `luxor-01` and `luxor-02`, that tests share and leave as they found it."""
    lab = Lab(LabFiles(tmp_path_factory.mktemp("50% of a fleet") / ".fleetctl" / "lab"))
    lab.up("luxor-01", "luxor-02")
    yield lab
    _end(lab)


@pytest.fixture
def new_lab(tmp_path: Path) -> Iterator[MakeLab]:
    """Makes labs that a test may bend and break."""
    made: list[Lab] = []

    def make(name: str = "lab") -> Lab:
        made.append(Lab(LabFiles(tmp_path / name / ".fleetctl" / "lab")))
        return made[-1]

    yield make
    for lab in made:
        _end(lab)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path is short enough for ssh's control sockets."""
    with tempfile.TemporaryDirectory(prefix="fl", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A real Chromium for the tests of one file."""
    from browsing import chromium  # takes half a second, which other tests need not wait for

    with chromium() as browser:
        yield browser
