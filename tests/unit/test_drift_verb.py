"""`fleetctl drift` as a person or a pipeline calls it, on simulated boards."""

from collections.abc import Iterator

import jsonschema
import pytest
from quadrant_fleet import QuadrantFleet

from fleetctl.schemas import SCHEMAS

RULE = """\
drift:
  ignore:
    - {kind: config, what: threshold, reason: a trial}
    - {kind: release, reason: a trial}
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuadrantFleet]:
    """Three simulated boards that run what git says."""
    made = QuadrantFleet.make(tmp_path_factory.mktemp("fleet"))
    (made.root / "faults.yaml").write_text("luxor-02: {unreachable: true}\n")
    assert 0 == made.run("rollout", "--yes", transport="fake").status
    yield made


def test_drift_from_clean_to_left_aside(fleet: QuadrantFleet) -> None:
    """Nothing at first; then a commit that no board followed, by its author; then a rule that knows of it."""
    clean = fleet.run("drift", transport="fake")
    fleet.edit("threshold: 0.6", "threshold: 0.7")
    found = fleet.run("drift", "-o", "json", "--faults", "faults.yaml", transport="fake")
    told = fleet.run("drift", transport="fake")
    manifest = fleet.root / "inventory" / "fleet.yaml"
    manifest.write_text(manifest.read_text() + RULE)
    aside = fleet.run("drift", transport="fake")

    assert (0, "0 of 3 boards differ from what git says\n") == (clean.status, clean.out)
    jsonschema.validate(found.json, SCHEMAS["fleetctl.drift/v1"])
    by = {board["board"]: board for board in found.json["boards"]}
    assert ["release", "config"] == [drift["kind"] for drift in by["karnak-01"]["drifts"]]
    assert {"test"} == {drift["by"] for drift in by["karnak-01"]["drifts"]}
    assert by["luxor-02"]["unknown"]
    assert (1, "fleetctl rollout --on karnak-01") == (found.status, found.json["heal"])
    assert "git moved on: threshold: 0.6 -> threshold: 0.7" in told.out
    assert "`fleetctl rollout --on karnak-01` puts them right" in told.err
    assert 0 == aside.status
    assert "left aside: a trial" in aside.out
    assert "the manifest leaves 2 differences aside" in aside.out
