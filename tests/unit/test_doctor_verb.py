"""`fleetctl doctor` as a person calls it, on simulated boards."""

import jsonschema
import pytest
from quadrant_fleet import QuadrantFleet

from fleetctl.schemas import SCHEMAS


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> QuadrantFleet:
    """Three simulated boards that run what git says."""
    faults = "karnak-01: {unreachable: true}\nluxor-02: {hot: true}\n"
    return QuadrantFleet.rolled_out(tmp_path_factory.mktemp("fleet"), faults)


def test_a_healthy_and_a_hot_board(fleet: QuadrantFleet) -> None:
    """Exit 0 where no check is bad, 1 where one is; the JSON fits its schema."""
    well = fleet.run("doctor", "luxor-01", "-o", "json", transport="fake")
    hot = fleet.run("doctor", "luxor-02", "--faults", "faults.yaml", transport="fake")

    jsonschema.validate(well.json, SCHEMAS["fleetctl.doctor/v1"])
    assert (0, True, 1) == (well.status, well.json["healthy"], hot.status)
    assert hot.out.startswith("!! temperature  86 C, slowed down now\n                -> give it a heat sink")


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["@canary,luxor-02"], 2, "doctor examines one board at a time"),
        (["karnak-01", "--faults", "faults.yaml"], 30, "simulated: no connection\nhint: see to its power"),
        (["luxor-01", "--remedy", "reboot"], 2, "nobody is there to be asked"),
        (["luxor-01", "--remedy", "unplug"], 2, "restart-service"),
    ],
)
def test_refusals(fleet: QuadrantFleet, arguments: list[str], status: int, says: str) -> None:
    """Several boards, a board that is away, a rung without consent, and one that there is not."""
    said = fleet.run("doctor", *arguments, transport="fake")

    assert (status, True) == (said.status, says in said.err)


@pytest.mark.parametrize("rung", ["restart-service", "reset-usb", "reboot"])
def test_a_rung_that_is_asked_for(fleet: QuadrantFleet, rung: str) -> None:
    """It is taken, said, and the board examined after it; one that boots is back at once."""
    said = fleet.run("doctor", "luxor-01", "--remedy", rung, "--yes", transport="fake", patience=30)

    assert (0, True) == (said.status, f"luxor-01: simulated: {rung}" in said.err)
    assert "luxor-01: 12 checks: " in said.out
