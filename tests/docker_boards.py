"""Docker boards as tests use them: only where one has booted, with the wheels that were fetched for them."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from docker.errors import NotFound
from prepare_boards import READY, USERS, WHEELHOUSE
from quadrant_fleet import QuadrantFleet

from fleetctl.errors import ToolchainMissing
from fleetctl.lab.docker.engine import engine
from fleetctl.lab.docker.images import image_name


def demand(architecture: str) -> None:
    """Skip, and say why, where boards of that processor cannot be had."""
    try:
        with engine() as client:
            for user in USERS:
                client.images.get(image_name(architecture, user))
    except ToolchainMissing as error:
        pytest.skip(error.message)
    except NotFound as error:
        pytest.skip(f"no image of {architecture} boards ({error.explanation}): run `make boards`")
    if not (READY / architecture).exists():
        pytest.skip(f"no {architecture} board has booted here: `make boards` says why")


@contextmanager
def lab_of(fleet: QuadrantFleet, architecture: str) -> Iterator[QuadrantFleet]:
    """A docker lab for every board of the fleet; bootstrap finds its wheels without a network."""
    demand(architecture)
    shutil.copytree(WHEELHOUSE, fleet.root / ".fleetctl" / "wheelhouse")
    try:
        up = fleet.run("lab", "up", "--driver", "docker", "--arch", architecture, patience=900)
        assert up.status == 0, up.err
        yield fleet
    finally:
        fleet.run("lab", "down")


@contextmanager
def client_of_engine() -> Iterator[Any]:
    """The Docker SDK, as tests look behind the lab with it."""
    with engine() as client:
        yield client


def lab_label(fleet: QuadrantFleet) -> str:
    return f"fleetctl.lab={_lab(fleet)}"


def container_of(client: Any, fleet: QuadrantFleet, board: str) -> Any:
    labels = [lab_label(fleet), f"fleetctl.board={board}"]
    (container,) = client.containers.list(all=True, filters={"label": labels})
    return container


def said_on(container: Any, argv: Sequence[str]) -> str:
    """What a program on a board says, which has to be something; asked again where a busy engine loses it."""
    for _ in range(3):
        ran = container.exec_run(list(argv), demux=True)
        stdout, stderr = ran.output
        if ran.exit_code == 0 and stdout:
            return str(stdout.decode())
    raise AssertionError(f"{argv[0]} on {container.name}: {ran.exit_code}, {stdout!r}, {stderr!r}")


def _lab(fleet: QuadrantFleet) -> Path:
    return fleet.root / ".fleetctl" / "lab"
