"""What a Raspberry Pi runs: Debian for arm64, emulated, with the aarch64 runtime answering for itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from docker_boards import lab_of
from quadrant_fleet import QuadrantFleet

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("docker boards")]

PATIENCE = 600  # seconds for a verb: emulation is ten to twenty times slower


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[QuadrantFleet]:
    """One fresh arm64 board, whose milliseconds say nothing."""
    made = QuadrantFleet.make(tmp_path / "fleet")
    made.edit("confirm_timeout: 30s", "confirm_timeout: 120s")
    made.edit("raspberrypi4: 2000", "raspberrypi4: 60000")
    made.edit("  luxor-02: {host: 192.0.2.2, labels: {site: luxor}}\n", "")
    made.edit("  karnak: {match: {site: karnak}, config: {threshold: 0.6}}\n", "")
    made.edit("  karnak-01: {host: 192.0.2.3, labels: {site: karnak}}\n", "")
    with lab_of(made, "arm64"):
        yield made


def test_an_arm64_board_proves_a_release_and_goes_back_from_a_bad_one(fleet: QuadrantFleet) -> None:
    """Fresh board to proof by aarch64's own runtime; labels that were mixed up leave it as it was."""
    fit = fleet.run("bootstrap", "-o", "json", patience=PATIENCE)
    assert fit.status == 0, fit.err
    assert ["aarch64-cp311-glibc2.36"] == [board["platform"] for board in fit.json["boards"]]

    good = fleet.run("rollout", "--yes", patience=PATIENCE)
    assert good.status == 0, good.err
    (proof,) = fleet.run("history", "-o", "json").json["receipts"]
    assert ("aarch64", "confirmed") == (proof["runtime"]["machine"], proof["state"])
    before = fleet.boards()["luxor-01"]["loaded"]

    fleet.mix_up_labels()
    bad = fleet.run("rollout", "--yes", patience=PATIENCE)
    assert bad.status == 40, bad.err
    assert "0 of 4 golden answers agree" in bad.err
    after = fleet.boards()["luxor-01"]
    assert (before, "running") == (after["loaded"], after["service"])
