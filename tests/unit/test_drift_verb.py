"""`fleetctl drift` as a person or a pipeline calls it, on simulated boards."""

import re
from pathlib import Path

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
def fleet(tmp_path_factory: pytest.TempPathFactory) -> QuadrantFleet:
    """Three simulated boards that run what git says."""
    return QuadrantFleet.rolled_out(tmp_path_factory.mktemp("fleet"), "luxor-02: {unreachable: true}\n")


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


def test_a_commit_that_is_gone_is_named_and_nobody_blamed(tmp_path: Path) -> None:
    """Main was rewritten without what boards run: the commit that came instead did not move them."""
    made = QuadrantFleet.rolled_out(tmp_path / "fleet")
    made.edit("threshold: 0.6", "threshold: 0.7")
    assert 0 == made.run("rollout", "--yes", transport="fake").status
    manifest = made.root / "inventory" / "fleet.yaml"
    manifest.write_text(manifest.read_text().replace("threshold: 0.7", "threshold: 0.8"))
    made.git("commit", "--quiet", "--all", "--amend", "--message", "Rewritten")
    made.git("reflog", "expire", "--expire=now", "--all")
    made.git("prune", "--expire=now")
    found = made.run("drift", transport="fake")
    heal = made.run("drift", "-o", "json", transport="fake").json["heal"]
    refused = made.run("rollout", "--yes", "--on", "karnak-01", transport="fake")
    healed = made.run(*heal.split()[1:], "--yes", transport="fake")

    assert "which git does not know here" in " ".join(found.out.split())
    assert "git moved on" not in found.out
    assert (heal, 31) == ("fleetctl rollout --on karnak-01 --adopt", refused.status)
    assert f"`{heal}` overwrites releases that git does not know" in found.err
    assert (0, 0) == (healed.status, made.run("drift", transport="fake").status), healed.err


def test_what_is_newer_is_not_gone_back_from_in_passing(tmp_path: Path) -> None:
    """A checkout that is behind what boards run is brought up to date; going back is only on purpose."""
    made = QuadrantFleet.rolled_out(tmp_path / "fleet")
    made.edit("threshold: 0.6", "threshold: 0.7")
    assert 0 == made.run("rollout", "--yes", transport="fake").status
    made.git("checkout", "--quiet", "HEAD~1")
    found = made.run("drift", transport="fake")
    heal = made.run("drift", "-o", "json", transport="fake").json["heal"]

    assert None is heal
    assert "which came after" in found.err
    assert "roll out what is newer, or say --back" in found.err


def test_edits_that_nobody_committed_are_nobodys_commit(tmp_path: Path) -> None:
    """Boards run the very commit that is checked out: nobody is blamed, and git did not move on."""
    made = QuadrantFleet.rolled_out(tmp_path / "fleet")
    manifest = made.root / "inventory" / "fleet.yaml"
    was = manifest.read_text()
    manifest.write_text(was.replace("threshold: 0.6", "threshold: 0.7"))
    edited = made.run("drift", transport="fake")
    manifest.write_text(was)
    made.edit("threshold: 0.6", "threshold: 0.8")
    manifest.write_text(manifest.read_text().replace("threshold: 0.8", "threshold: 0.9"))
    both = made.run("drift", transport="fake")
    assert 0 == made.run("rollout", "--yes", transport="fake").status
    made.git("checkout", "--quiet", "--", "inventory")
    tried = made.run("drift", transport="fake")
    made.git("checkout", "--quiet", "HEAD~1")
    older = made.run("drift", transport="fake")

    assert "edited here, not committed" in edited.out
    assert "git moved on" not in edited.out + tried.out + older.out
    told = " ".join(both.out.split())
    assert "edited here, not committed, and git moved on: threshold: 0.6 -> threshold: 0.8 (" in told
    assert re.search(r"threshold: 0\.8 \(\w{7}\) \d+ s ago by", told)  # whose the commit is, and nothing else
    assert "rolled out from edits that were not committed" in tried.out
    assert "came after" not in edited.out
