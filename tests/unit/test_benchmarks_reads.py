"""The fleet that looking at boards is measured with."""

from pathlib import Path

from benchmarks.reads import MOST, fleet_of
from fleetctl.manifest.loader import load


def test_it_is_a_fleet_of_as_many_boards_as_are_said(tmp_path: Path) -> None:
    """With time to confirm and no budget of milliseconds: five hundred boards are on two processors."""
    fleet = load(fleet_of(tmp_path / "fleet").root / "inventory" / "fleet.yaml")

    assert sum(name.startswith(("board-", "further-")) for name in fleet.boards) == MOST
    assert fleet.rollout.confirm_timeout == 120.0
    assert fleet.models["quadrants"].smoke.max_p95_ms == {}
