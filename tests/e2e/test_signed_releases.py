"""Signed releases as a person uses them: keys, bootstrap, rollouts, going back, another key."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from long_matrices import takes
from quadrant_fleet import QuadrantFleet, quadrants_on_the_lab

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("signed releases")]


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[QuadrantFleet]:
    """Three virtual boards that run what git says, unsigned so far."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with quadrants_on_the_lab(tmp_path / "fleet") as made:
        made.must("rollout", "--yes")
        yield made


def test_from_unsigned_to_signed_and_back_on_purpose(
    fleet: QuadrantFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boards are given a key, take what it signed, refuse everything else, and go back only when asked."""
    key = tmp_path / "config" / "fleetctl" / "quadrants-release.pem"
    made = fleet.run("keys", "new")
    fleet.edit("confirm_timeout: 30s", "confirm_timeout: 30s\n  signing: required")

    assert (made.status, oct(key.stat().st_mode & 0o777)) == (0, "0o600"), made.err
    assert "BEGIN" not in made.out + made.err
    planned, refused = fleet.run("plan"), fleet.run("rollout", "--yes")
    assert (planned.status, refused.status) == (0, 31)
    assert "planned here, not rolled out" in planned.err
    assert "FLEETCTL_SIGNING_KEY" in refused.err

    monkeypatch.setenv("FLEETCTL_SIGNING_KEY", str(key))
    strained = fleet.run("status")
    given, again = fleet.run("bootstrap", "-o", "json"), fleet.run("bootstrap", "-o", "json")
    assert (strained.status, "trusts nobody" in strained.out) == (1, True)
    assert [["trusted keys"]] * 3 == [board["changed"] for board in given.json["boards"]], given.err
    assert [[]] * 3 == [board["changed"] for board in again.json["boards"]]
    fleet.must("status")

    before = fleet.boards()
    fleet.edit("threshold: 0.6", "threshold: 0.7")
    fleet.must("rollout", "--yes")
    after = fleet.boards("karnak-01")["karnak-01"]
    assert after["serial"] == 3
    assert after["loaded"] != before["karnak-01"]["loaded"]

    back = fleet.run("rollback", "--yes", "--on", "karnak-01")
    assert back.status == 0, back.err
    assert fleet.boards("karnak-01")["karnak-01"]["loaded"] == before["karnak-01"]["loaded"]
    fleet.must("rollout", "--yes")

    fleet.git("checkout", "--quiet", "HEAD~1")
    refused, planned = fleet.run("rollout", "--yes"), fleet.run("plan")
    assert (refused.status, planned.status) == (31, 31)
    assert "has confirmed number 3 of the history, this commit is number 2" in refused.err
    assert fleet.boards("karnak-01")["karnak-01"]["loaded"] == after["loaded"]
    asked_for = fleet.run("rollout", "--yes", "--back")
    assert asked_for.status == 0, asked_for.err
    assert fleet.boards("karnak-01")["karnak-01"]["loaded"] == before["karnak-01"]["loaded"]


@takes("most of a minute")  # tests/contract/test_contract_trust.py shows each of it by itself
def test_a_manifest_that_asks_for_no_signature_does_not_talk_boards_out_of_it(
    fleet: QuadrantFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boards decide: dropping `signing` from git gets a refusal, and so does a key they were not given."""
    fleet.run("keys", "new")
    fleet.edit("confirm_timeout: 30s", "confirm_timeout: 30s\n  signing: required")
    fleet.must("bootstrap", "--on", "luxor-01")
    fleet.edit("signing: required", "signing: none")
    fleet.edit("luxor-01: {", "luxor-01: {config: {threshold: 0.2}, ")
    unsigned = fleet.run("rollout", "--yes")

    assert (unsigned.status, "takes only signed releases" in unsigned.err) == (31, True), unsigned.err

    fleet.edit("signing: none", "signing: required")
    fleet.run("keys", "new", "next")
    fleet.commit("Trust another key")
    monkeypatch.setenv("FLEETCTL_SIGNING_KEY", str(tmp_path / "config" / "fleetctl" / "quadrants-next.pem"))
    strange = fleet.run("rollout", "--yes")
    assert (strange.status, "does not trust the key that signs" in strange.err) == (31, True), strange.err

    fleet.must("bootstrap", "--on", "luxor-01")
    fleet.git("rm", "--quiet", "inventory/trust/release.pem")
    fleet.commit("Trust the first key no more")
    fleet.must("bootstrap", "--on", "luxor-01")
    done = fleet.run("rollout", "--yes")
    assert done.status == 0, done.err
    assert len(fleet.boards("luxor-01")["luxor-01"]["trusts"]) == 1
    shown = fleet.run("keys", "show", "-o", "json").json
    assert [("next", True)] == [(key["name"], key["here"]) for key in shown["keys"]]
