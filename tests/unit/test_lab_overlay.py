"""What `--transport lab` does to a fleet, and the records it is made from."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fleetctl.errors import UsageError
from fleetctl.lab.detached import lock
from fleetctl.lab.overlay import identity, known_hosts, overlay
from fleetctl.lab.state import LabFiles, LabState, VirtualBoard
from fleetctl.manifest.schema import Board, BoardKind, Fleet, RolloutPolicy, ServiceManager, VariantName, Via
from fleetctl.project import Project

REAL = Board(
    "luxor-01",
    BoardKind.RASPBERRYPI4,
    "reader",
    VariantName.INT8,
    host="192.0.2.11",
    user="pi",
    become=True,
    labels={"site": "luxor"},
    config={"threshold": 0.5},
    groups=("canary",),
)
FAR = replace(REAL, name="karnak-07", via=Via.IOTHUB, host="")


def a_fleet(folder: Path) -> Fleet:
    boards = {board.name: board for board in (REAL, FAR)}
    return Fleet("unas", folder / "inventory" / "fleet.yaml", {}, {}, boards, RolloutPolicy(), "")


@contextmanager
def a_lab(project: Project, *names: str) -> Iterator[LabState]:
    """A lab of which there is only the record and the daemon's lock."""
    files = LabFiles.of(project)
    boards = {
        name: VirtualBoard("127.0.0.1", 20_001 + i, "me", f"/lab/{name}", "/venv/python", 21_001 + i)
        for i, name in enumerate(names)
    }
    state = LabState(boards, 1, 4711)
    state.write(files.state)
    with lock(files.daemon) as held:
        held.write(b"4711\n")
        held.flush()
        yield state


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "inventory" / "fleet.yaml")


def test_a_twin_differs_in_how_it_is_reached_and_in_nothing_else(project: Project) -> None:
    """Connection settings are the virtual board's; what the board should run is still the manifest's."""
    with a_lab(project, "luxor-01", "karnak-07"):
        twins = overlay(a_fleet(project.root), project)
    expected = replace(
        REAL,
        host="127.0.0.1",
        port=20_001,
        user="me",
        become=False,
        python="/venv/python",
        root="/lab/luxor-01",
        service=ServiceManager.PROCESS,
        serve_port=21_001,
    )

    assert expected == twins.boards["luxor-01"]
    assert twins.boards["karnak-07"].via is Via.ANSIBLE
    assert list(twins.boards) == ["luxor-01", "karnak-07"]


def test_a_lab_that_is_not_up_is_said(project: Project) -> None:
    """Neither a missing lab nor the record of one that has ended will do."""
    fleet = a_fleet(project.root)
    with pytest.raises(UsageError, match="the lab is not up") as missing:
        overlay(fleet, project)
    with a_lab(project, "luxor-01", "karnak-07"):
        pass
    with pytest.raises(UsageError, match="the lab is not up"):
        overlay(fleet, project)

    assert "fleetctl lab up" in missing.value.hint


def test_a_board_that_the_lab_lacks_is_said(project: Project) -> None:
    """A board that is asked for and not there is a usage error."""
    with (
        a_lab(project, "luxor-01"),
        pytest.raises(UsageError, match="the lab has no board karnak-07") as error,
    ):
        overlay(a_fleet(project.root), project)

    assert "fleetctl lab up" in error.value.hint


def test_a_board_left_out_of_the_lab_cannot_be_reached_for_real(project: Project) -> None:
    """When only some boards are asked for, the others lose their real addresses."""
    with a_lab(project, "luxor-01"):
        twins = overlay(a_fleet(project.root), project, ["luxor-01"])

    assert twins.boards["karnak-07"].host.endswith(".invalid")


def test_key_and_known_hosts_lie_in_the_lab(project: Project) -> None:
    """The lab's own key and host keys are used, never the user's or the fleet's."""
    assert identity(project) == project.root / ".fleetctl" / "lab" / "id_ed25519"
    assert known_hosts(project) == project.root / ".fleetctl" / "lab" / "known_hosts"


names = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=12)
ports = st.integers(1, 65535)
boards = st.builds(VirtualBoard, names, ports, names, names, names, ports, st.booleans(), names)


@given(st.dictionaries(names, boards, max_size=5), st.integers(0, 1 << 31), st.integers(0, 1 << 22))
def test_a_state_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, found: dict[str, VirtualBoard], generation: int, pid: int
) -> None:
    """Writing and reading a state is the identity, whatever names are in it."""
    path = tmp_path_factory.getbasetemp() / "lab.json"
    state = LabState(found, generation, pid)
    state.write(path)

    assert state == LabState.read(path)
