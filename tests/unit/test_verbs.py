"""The verbs that talk to boards, on simulated ones: results, talk, exit codes, and what JSON they print."""

from pathlib import Path

import pytest
from git_fleet import Fleetctl, GitFleet, faults


def test_the_whole_story(fleetctl: Fleetctl) -> None:
    """Plan says what would change, rollout does it, and then plan, status and smoke have nothing to add."""
    planned = fleetctl("plan")
    rolled = fleetctl("rollout", "--yes")

    assert (planned.status, rolled.status) == (1, 0)
    assert "3 of 3 boards would change (3 install) in 2 waves" in planned.out
    assert [0, 0, 0] == [fleetctl(verb).status for verb in ("plan", "status", "smoke")]
    assert "nothing to do: 3 boards already do what git says" in fleetctl("rollout", "--yes").err


def test_smoke_writes_nothing_into_the_store(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """It only asks and judges, so it works where the store can only be read."""
    fleetctl("rollout", "--yes")
    store = Path("model_artifacts/store")
    fleet.edit("threshold: 0.6", "threshold: 0.7")  # boards should run what no rollout put there yet
    before = sorted(store.rglob("*"))
    said = fleetctl("smoke", "-o", "json").json["boards"]

    assert before == sorted(store.rglob("*"))
    assert {"luxor-01": "passed", "karnak-01": "failed"}.items() <= {
        b["board"]: b["outcome"] for b in said
    }.items()


def test_one_value_touches_the_boards_it_concerns(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """Changing a group's value plans exactly its boards, names the value, and sends no model."""
    fleetctl("rollout", "--yes")
    fleet.edit("threshold: 0.6", "threshold: 0.7")
    steps = {
        board["board"]: board
        for wave in fleetctl("plan", "-o", "json").json["waves"]
        for board in wave["boards"]
        if board["action"] != "nothing"
    }

    assert ["karnak-01"] == list(steps)
    assert ["threshold: 0.6 -> 0.7"] == steps["karnak-01"]["reasons"]
    assert steps["karnak-01"]["send_bytes"] < 1000


@pytest.mark.parametrize(
    ("private", "in_the_way"), [("file/key.pem", ""), ("new/key.pem", "inventory/trust")]
)
def test_a_key_is_made_whole_or_not_at_all(
    fleetctl: Fleetctl, tmp_path_factory: pytest.TempPathFactory, private: str, in_the_way: str
) -> None:
    """Where one half cannot be written, that is said, and the other is not there either."""
    place = tmp_path_factory.mktemp("private")
    (place / "file").write_text("no folder")
    if in_the_way:
        Path(in_the_way).write_text("no folder")
    said = fleetctl("keys", "new", "--private", str(place / private))

    assert (70, 1) == (said.status, said.err.count("error: cannot write "))
    assert [] == list(place.rglob("*.pem"))
    assert not Path("inventory/trust/release.pem").exists()


def test_a_private_half_goes_to_no_home_that_is_not_there(fleetctl: Fleetctl) -> None:
    """As in a container whose user is a number; and no public half is left alone."""
    said = fleetctl("keys", "new", "--private", "~nobody-of-that-name/release.pem")

    assert (2, True) == (said.status, "name a place with --private" in said.err)
    assert not Path("inventory/trust/release.pem").exists()


@pytest.mark.parametrize("content", ["", "junk", '{"event": "SoakStarted"}'])
def test_a_file_that_tells_of_no_rollout_is_no_report(fleetctl: Fleetctl, content: str) -> None:
    """Rather than a rollout of nothing that is not finished."""
    Path("else.txt").write_text(content)
    other, folder = fleetctl("report", "--journal", "else.txt"), fleetctl("report", "--journal", "inventory")
    Path(".fleetctl/journal").mkdir(parents=True)
    Path("else.txt").rename(".fleetctl/journal/20261129T001044Z.jsonl")
    today = fleetctl("report")

    assert (0, False) == (today.status, "Rollout of" in today.out)
    assert (2, "") == (other.status, other.out)
    assert "error: else.txt tells of no rollout" in other.err
    assert "error: inventory is no file" in folder.err


def test_no_key_is_no_empty_table(fleetctl: Fleetctl) -> None:
    """It says how to make one."""
    said = fleetctl("keys", "show")

    assert (0, True) == (said.status, "`fleetctl keys new` makes one" in said.err)


def test_an_offline_board_is_deferred(fleetctl: Fleetctl) -> None:
    """The rest is rolled out and the exit is 0; status then says who is missing, with exit 1."""
    away = faults(karnak_01="{unreachable: true}")

    assert fleetctl("rollout", "--yes", "--faults", away).status == 0
    assert "2 of 3 boards healthy" in fleetctl("status", "--faults", away).out
    assert fleetctl("status", "--faults", away).status == 1


def test_rollback_goes_back_by_name(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """A release that the boards ran before is found by the start of its digest."""
    fleetctl("rollout", "--yes")
    old = {r["board"]: r["release"] for r in fleetctl("history", "-o", "json").json["receipts"]}
    fleet.edit("threshold: 0.6", "threshold: 0.7")
    fleetctl("rollout", "--yes")
    said = fleetctl("rollback", "--yes", "--on", "karnak-01", "--to", old["karnak-01"][:10])
    statuses = {board["board"]: board for board in fleetctl("status", "-o", "json").json["boards"]}

    assert said.status == 0
    assert statuses["karnak-01"]["loaded"] == old["karnak-01"]
    assert statuses["karnak-01"]["troubles"] == ["runs another release than git says"]


def test_a_rollback_that_is_given_again_changes_nothing(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """One board was away the first time; the others do not return to what they just left."""
    fleetctl("rollout", "--yes")
    fleet.edit("threshold: 0.6", "threshold: 0.7")
    fleetctl("rollout", "--yes")
    first = fleetctl("rollback", "--yes", "--on", "karnak-01", "-o", "json")
    said = fleetctl("rollback", "--yes", "--on", "karnak-01", "-o", "json")

    assert (0, first.json) == (said.status, said.json)
    assert "karnak-01: went back before, and stays" in said.err


@pytest.mark.parametrize("prefix", ["abc", "xyzxyzxyz", "0123456789"])
def test_rollback_refuses_what_no_board_ran(fleetctl: Fleetctl, prefix: str) -> None:
    """A prefix that is too short, no digest, or unknown is refused before anything is touched."""
    fleetctl("rollout", "--yes")

    assert fleetctl("rollback", "--yes", "--on", "luxor-01", "--to", prefix).status == 2


def test_history_tells_each_activation_once(fleetctl: Fleetctl) -> None:
    """Proved and then confirmed is one line; the newest comes first."""
    fleetctl("rollout", "--yes")
    receipts = fleetctl("history", "--on", "luxor-01", "-o", "json").json["receipts"]

    assert [("passed", "confirmed")] == [(r["outcome"], r["state"]) for r in receipts]


@pytest.mark.parametrize("verb", ["plan", "status", "smoke", "history", "rollout"])
def test_json_names_its_schema_and_stands_alone(fleetctl: Fleetctl, verb: str) -> None:
    """With `--output json` standard output is one document that says which schema it follows."""
    fleetctl("rollout", "--yes")
    said = fleetctl(verb, "-o", "json", *(["--yes"] if verb == "rollout" else []))

    assert said.json["schema"] == f"fleetctl.{verb}/v1"


@pytest.mark.parametrize("verb", ["plan", "status", "smoke", "history", "rollout"])
def test_markdown_is_for_pull_requests(fleetctl: Fleetctl, verb: str) -> None:
    """Every verb that shows something can show it as a GitHub table."""
    if verb == "history":  # of which there is none before
        assert 0 == fleetctl("rollout", "--yes").status
    said = fleetctl(verb, "-o", "markdown", *(["--yes"] if verb == "rollout" else []))

    assert "| --- |" in said.out
