"""`fleetctl plan --base`: what no release holds is shown all the same, and whom boards trust is a danger."""

from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from git_fleet import GitFleet, Plan
from signatures import KEY, OTHER_KEY

from fleetctl.schemas import SCHEMAS

Rows = Callable[[], dict[str, tuple[str, str]]]

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
OTHER_HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
RULE = "drift: {ignore: [{reason: a trial, boards: [luxor-*], kind: config, what: threshold}]}\n"


@pytest.fixture
def rows(plan: Plan) -> Rows:
    """What was and would be, by place, of a change that touches no board's release and is no danger."""

    def run() -> dict[str, tuple[str, str]]:
        said = plan("-o", "json")
        jsonschema.validate(said.json, SCHEMAS["fleetctl.proposal/v1"])
        assert (1, 3, []) == (said.status, said.json["unchanged"], said.json["dangers"]), said
        return {each["place"]: (each["before"], each["after"]) for each in said.json["settings"]}

    return run


@pytest.fixture
def signed(fleet: GitFleet) -> Path:
    """The folder of trusted keys of a fleet that demands signatures by one."""
    folder = fleet.root / "inventory" / "trust"
    folder.mkdir()
    (folder / "release.pem").write_text(KEY.public.pem)
    fleet.edit("rollout:\n", "rollout:\n  signing: required\n")
    fleet.commit("Demand signatures")
    return folder


def test_who_goes_first_is_shown(fleet: GitFleet, rows: Rows) -> None:
    """Another canary is anybody's choice, and changes no release; a reviewer must see which it is."""
    fleet.edit("boards: [luxor-01]", "boards: [karnak-01]")

    assert {
        "rollout.waves[0]": ("1 board", "1 board; new: karnak-01; gone: luxor-01"),
        "rollout.waves[1]": ("2 boards", "2 boards; new: luxor-01; gone: karnak-01"),
    } == rows()


def test_a_wave_that_is_gone_is_shown_with_its_boards(fleet: GitFleet, rows: Rows) -> None:
    """Boards that no longer wait for others are told, not only that there is a wave less."""
    fleet.edit("{group: canary}, {p", "{group: canary}, {percent: 50}, {p")
    fleet.commit("Three waves")
    fleet.edit("{percent: 50}, ", "")

    assert {
        "rollout.waves": ("[canary, 50 %, 100 %]", "[canary, 100 %]"),
        "rollout.waves[1]": ("1 board", "2 boards; new: karnak-01"),
        "rollout.waves[2]": ("1 board", "0 boards; gone: karnak-01"),
    } == rows()


def test_a_percentage_of_a_larger_fleet_is_no_other_wave(fleet: GitFleet, plan: Plan) -> None:
    """A new board moves others from wave to wave, as a percentage is meant to; that is no news."""
    fleet.edit("{group: canary}, {p", "{percent: 30}, {p")
    fleet.commit("Percentages")
    fleet.edit("boards:\n", "boards:\n  giza-01: {board: raspberrypi5, model: toy, host: 192.0.2.4}\n")
    said = plan("-o", "json").json

    assert [] == said["settings"]
    assert ["giza-01"] == [board["board"] for wave in said["waves"] for board in wave["boards"]]


@pytest.mark.parametrize(
    ("old", "new", "place", "before", "after"),
    [
        ("boards:\n", RULE + "boards:\n", "drift.ignore", "none", "config threshold of luxor-*: a trial"),
        ("name: unas", "name: teti", "metadata.name", "unas", "teti"),
        (
            "boards:\n",
            "iothub: {host: hub.example}\nboards:\n",
            "iothub.host",
            "not set",
            "hub.example",
        ),
        (
            "host: 192.0.2.1, ",
            "host: 192.0.2.1, attached: none, runtime: {machine: aarch64}, ",
            "boards.luxor-01.runtime",
            "none",
            "machine: aarch64",
        ),
        ("rollout:\n", "rollout:\n  deadline: 90h\n", "rollout.deadline", "300", "324000"),
    ],
)
def test_a_setting_that_no_release_holds_is_shown(
    fleet: GitFleet, rows: Rows, old: str, new: str, place: str, before: str, after: str
) -> None:
    """Each is one row, and never a change of which nothing is said."""
    fleet.edit(old, new)

    assert {place: (before, after)} == rows()


def test_a_rule_about_drift_that_went_is_shown(fleet: GitFleet, rows: Rows) -> None:
    """In which order the others stand is all one."""
    text = fleet.manifest.read_text()
    fleet.manifest.write_text(
        text + "drift: {ignore: [{reason: a, until: 2026-12-31}, {reason: b, kind: unit}]}\n"
    )
    fleet.commit("Leave all aside")
    fleet.manifest.write_text(text + "drift: {ignore: [{reason: b, kind: unit}]}\n")

    assert {"drift.ignore": ("everything of every board until 2026-12-31: a", "none")} == rows()


def test_host_keys_are_shown_by_host(fleet: GitFleet, rows: Rows) -> None:
    """Whom we take for a board is decided there: new, gone and changed hosts are told, comments are not."""
    path = fleet.root / "inventory" / "known_hosts"
    path.write_text(f"192.0.2.1,luxor {HOST_KEY}\n|1|c2FsdA==|ZGlnZXN0 {HOST_KEY}\n@revoked * {HOST_KEY}\n")
    first = rows()
    fleet.commit("Know hosts")
    path.write_text(
        f"# moved\n192.0.2.1 {OTHER_HOST_KEY} root@x\n@revoked * {HOST_KEY}\n9.9.9.9 {HOST_KEY}\n"
    )
    then = rows()
    path.rename(path.with_name("hosts"))
    path.symlink_to("hosts")

    assert {"known_hosts": ("0 hosts", "4 hosts; new: 192.0.2.1, luxor, a hashed name and 1 more")} == first
    assert {
        "known_hosts": (
            "4 hosts",
            "3 hosts; new: 9.9.9.9; gone: luxor, a hashed name; changed: 192.0.2.1",
        )
    } == then
    assert "new: (a link to hosts)" in rows()["known_hosts"][1]


def test_another_pinned_fleetctl_is_shown(fleet: GitFleet, rows: Rows) -> None:
    """Whether or not anything else of the fleet differs; a long one is cut."""
    path = fleet.root / ".github" / "fleetctl.txt"
    path.parent.mkdir()
    path.write_text("fleetctl[build]==1.0\n")
    alone = rows()
    fleet.commit("Pin")
    path.write_text("fleetctl[build]==9.9.9 \\\n" + "    --hash=sha256:" + "0" * 64)
    fleet.edit("name: unas", "name: teti")

    assert {".github/fleetctl.txt": ("not set", "fleetctl[build]==1.0")} == alone
    before, after = rows()[".github/fleetctl.txt"]
    assert "fleetctl[build]==1.0" == before
    assert after.startswith("fleetctl[build]==9.9.9 \\ --hash=sha256:000")
    assert after.endswith("...")


def test_a_key_that_is_trusted_is_a_danger(signed: Path, fleet: GitFleet, plan: Plan) -> None:
    """Who holds it could bring boards anything: it is refused with its fingerprint, unless meant."""
    (signed / "guest.pem").write_text(OTHER_KEY.public.pem)
    refused, told = plan(), plan("-o", "json").json
    jsonschema.validate(told, SCHEMAS["fleetctl.proposal/v1"])
    fleet.edit("rollout:\n", "rollout:\n  allow: {trust: Ada signs too}\n")
    meant = plan()

    fingerprint = OTHER_KEY.public.fingerprint
    assert 12 == refused.status
    assert f"trust: the key guest ({fingerprint[:16]}) would be trusted, and was not" in refused.err
    assert {"place": "trust.guest", "before": "not trusted", "after": fingerprint} in told["settings"]
    assert 1 == meant.status
    assert "(meant: Ada signs too)" in meant.out


def test_a_key_that_is_trusted_no_more_is_a_danger(signed: Path, plan: Plan) -> None:
    """Boards that trust it alone would take nothing; one that took its name is told as well."""
    (signed / "release.pem").unlink()
    gone = plan()
    (signed / "release.pem").write_text(OTHER_KEY.public.pem)
    other = plan()

    old, new = KEY.public.fingerprint[:16], OTHER_KEY.public.fingerprint[:16]
    assert [12, 12] == [gone.status, other.status]
    assert f"trust: the key release ({old}) would be trusted no more" in gone.err
    assert f"the key release ({old}) would be trusted no more" in other.err
    assert f"the key release ({new}) would be trusted, and was not" in other.err


def test_what_is_no_key_is_a_danger_too(signed: Path, plan: Plan) -> None:
    """Nothing that lies among trusted keys passes unseen, nor leads a runner to other files."""
    (signed / "odd.pem").write_text("x")
    (signed / "link.pem").symlink_to("odd.pem")
    said = plan()
    (signed / "link.pem").unlink()
    (signed / "link.pem").symlink_to("/etc/passwd")
    elsewhere = plan()

    assert (12, 2) == (said.status, elsewhere.status)
    assert "the key odd (no public key, 2d711642b726) would be trusted" in said.err
    assert "the key link (no public key, " in said.err
    assert "link.pem is a link to /etc/passwd" in elsewhere.err
    assert "root:" not in elsewhere.out + elsewhere.err


def test_another_name_for_a_key_is_no_danger(signed: Path, plan: Plan) -> None:
    """Boards know keys by their bytes; that the file has another name is shown."""
    (signed / "same.pem").write_text(KEY.public.pem)
    twice = plan("-o", "json")
    (signed / "same.pem").unlink()
    (signed / "release.pem").rename(signed / "ada.pem")
    said = plan("-o", "json")

    assert (1, []) == (twice.status, twice.json["dangers"])
    assert (1, []) == (said.status, said.json["dangers"])
    assert {"trust.release", "trust.ada"} == {each["place"] for each in said.json["settings"]}


def test_the_first_key_of_a_fleet_is_shown(fleet: GitFleet, rows: Rows) -> None:
    """Where nobody was trusted boards take any release, so it takes nothing away."""
    folder = fleet.root / "inventory" / "trust"
    folder.mkdir()
    (folder / "release.pem").write_text(KEY.public.pem)

    assert {"trust.release": ("not trusted", KEY.public.fingerprint)} == rows()


def test_a_base_that_cannot_be_read_hides_no_key(signed: Path, fleet: GitFleet, plan: Plan) -> None:
    """What it trusted can be told though its manifest cannot: meaning the one is not meaning the other."""
    good = fleet.manifest.read_text()
    fleet.manifest.write_text("kind: Nonsense\n")
    fleet.commit("Break")
    (signed / "guest.pem").write_text(OTHER_KEY.public.pem)
    fleet.manifest.write_text(good.replace("rollout:\n", "rollout:\n  allow: {unreadable-base: mends it}\n"))
    said = plan()

    assert 12 == said.status
    assert "trust: the key guest" in said.err
    assert "unreadable-base" not in said.err


def test_who_brought_a_key_is_named(signed: Path, fleet: GitFleet, plan: Plan) -> None:
    """A harmless commit behind it does not hide it from a rollout."""
    (signed / "guest.pem").write_text(OTHER_KEY.public.pem)
    bold = fleet.commit("Trust a guest")
    fleet.edit("threshold: 0.6", "threshold: 0.7")
    fleet.commit("Something harmless")
    said = plan("--commit-by-commit", base="HEAD~2")

    assert 12 == said.status
    assert f"{bold[:12]} brought it" in said.err
