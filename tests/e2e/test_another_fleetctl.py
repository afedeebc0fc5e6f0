"""A team takes another fleetctl while boards run what the one before brought."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from quadrant_fleet import QuadrantFleet, quadrants_on_the_lab

import fleetctl
from fleetctl.build.inputs import BUILDER

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("another fleetctl")]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[QuadrantFleet]:
    """Three virtual boards that run what this fleetctl made of git."""
    with quadrants_on_the_lab(tmp_path / "fleet") as made:
        made.must("rollout", "--yes")
        yield made


@pytest.fixture
def another(tmp_path: Path) -> Path:
    """A fleetctl whose builder and board runtime are other ones, on the path of who would run it."""
    repository, package = Path(fleetctl.__file__).parents[1], tmp_path / "another" / "fleetctl"
    for folder in ("fleetctl", "inventory", "playbooks"):
        shutil.copytree(
            repository / folder, package.parent / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    _edit(package / "build" / "inputs.py", f'BUILDER = "{BUILDER}"', 'BUILDER = "another"')
    _edit(package / "device" / "serve.py", "from __future__", "# Another one.\nfrom __future__")
    return package.parent


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_it_takes_over_without_a_build_and_leads_back(
    fleet: QuadrantFleet, another: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows whose doing the difference is, rolls out beside the one before, and rolls back to it."""
    before = {name: board["loaded"] for name, board in fleet.boards().items()}
    monkeypatch.setenv("PYTHONPATH", str(another))
    planned, drifted = fleet.run("plan"), fleet.run("drift")

    assert (1, 3) == (planned.status, planned.out.count("board runtime")), planned.err
    assert (1, 3) == (drifted.status, drifted.out.count("this fleetctl brings another board runtime"))

    fleet.must("rollout", "--yes", "--on", "luxor-01")
    mixed = fleet.boards()
    fleet.must("rollout", "--yes")
    fleet.must("status")

    assert {"luxor-02", "karnak-01"} == {name for name in mixed if mixed[name]["loaded"] == before[name]}
    assert {"running"} == {board["service"] for board in mixed.values()}

    fleet.must("rollback", "--yes")
    assert before == {name: board["loaded"] for name, board in fleet.boards().items()}
