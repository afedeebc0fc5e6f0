"""`fleetctl plan --base REV --commit-by-commit`: each commit answers for the dangers that it brought."""

import json

import jsonschema
import pytest
from git_fleet import GitFleet, Plan, say
from published import Said

from fleetctl.commits import Commits
from fleetctl.schemas import SCHEMAS

ACCURACY = "min_accuracy: 0.5"
SAMPLES = "samples: 6}"
LUXOR_02 = "  luxor-02: {board: raspberrypi4, model: toy, host: 192.0.2.2, labels: {site: luxor}}\n"
LUXOR_03 = LUXOR_02.replace("luxor-02", "luxor-03").replace("192.0.2.2", "192.0.2.4")
LUXOR_04 = LUXOR_02.replace("luxor-02", "luxor-04").replace("192.0.2.2", "192.0.2.5")


@pytest.fixture
def plan(fleet: GitFleet, capsys: pytest.CaptureFixture[str]) -> Plan:
    """Runs `fleetctl plan` on what came since the fleet began, as the workflow `rollout` does."""
    began = fleet.head

    def run(*arguments: str, base: str = began) -> Said:
        return say(capsys, "plan", "--base", base, "--commit-by-commit", "--changes-ok", *arguments)

    return run


def change(fleet: GitFleet, old: str, new: str) -> str:
    """A commit that changes the manifest; its full id."""
    fleet.edit(old, new)
    return fleet.commit(f"{old.strip()} becomes {new.strip()}")


def allow(fleet: GitFleet, entries: str) -> None:
    """Have `rollout.allow` hold these entries, in the next commit."""
    text = fleet.manifest.read_text()
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("  allow:")]
    fleet.manifest.write_text("".join(lines).replace("rollout:\n", f"rollout:\n  allow: {{{entries}}}\n"))


def harmless(fleet: GitFleet) -> str:
    return change(fleet, "threshold: 0.6", "threshold: 0.7")


def test_what_was_refused_stays_refused(fleet: GitFleet, plan: Plan) -> None:
    """A harmless commit behind it changes nothing; the commit that brought it is named, and the way out."""
    bold = change(fleet, ACCURACY, "min_accuracy: 0.4")
    harmless(fleet)
    said, document = plan(), plan("-o", "json").json
    jsonschema.validate(document, SCHEMAS["fleetctl.proposal/v1"])

    assert 12 == said.status
    assert f"DANGER   lower-gate: toy: min_accuracy 0.5 -> 0.4 (since {bold[:12]})" in said.out
    assert f"{bold[:12]} brought it: revert that; if it is meant, do it again in a commit" in said.err
    assert "`rollout: {allow: {lower-gate: WHY}}`" in said.err
    assert [(False, bold)] == [(each["allowed"], each["commit"]) for each in document["dangers"]]


def test_what_a_commit_meant_is_meant(fleet: GitFleet, plan: Plan) -> None:
    """A later commit takes the entry out, as it should, and the change passes with the reason it had."""
    allow(fleet, "lower-gate: harder photos")
    meant = change(fleet, ACCURACY, "min_accuracy: 0.4")
    change(fleet, "  allow: {lower-gate: harder photos}\n", "")
    harmless(fleet)
    said = plan()

    assert 0 == said.status, said
    assert (
        f"allowed  lower-gate: toy: min_accuracy 0.5 -> 0.4 (meant: harder photos ({meant[:12]}))" in said.out
    )


def test_what_was_taken_back_is_no_danger(fleet: GitFleet, plan: Plan) -> None:
    """A revert is the way out; and doing it again with a reason is the way on, whatever follows."""
    change(fleet, ACCURACY, "min_accuracy: 0.4")
    fleet.git("revert", "--no-edit", "HEAD")
    harmless(fleet)
    reverted = plan()
    allow(fleet, "lower-gate: harder photos")
    change(fleet, ACCURACY, "min_accuracy: 0.4")
    again = plan()
    change(fleet, "  allow: {lower-gate: harder photos}\n", "")

    assert [0, 0, 0] == [reverted.status, again.status, plan().status]


def test_a_reason_is_not_for_what_another_commit_did(fleet: GitFleet, plan: Plan) -> None:
    """One that means its own lowered gate does not let through that of a commit before it."""
    bold = change(fleet, ACCURACY, "min_accuracy: 0.4")
    allow(fleet, "lower-gate: fewer photos")
    change(fleet, SAMPLES, "samples: 6, min_agreement: 0.5}")
    both = plan()
    change(fleet, "min_accuracy: 0.4", ACCURACY)
    left = plan()

    assert 12 == both.status
    assert f"DANGER   lower-gate: toy: min_accuracy 0.5 -> 0.4 (since {bold[:12]})" in both.out
    assert "allowed  lower-gate: toy: smoke.min_agreement" in both.out
    assert 0 == left.status, left


def test_a_commit_may_say_later_that_it_was_meant(fleet: GitFleet, plan: Plan) -> None:
    """One that allows, and does nothing of the kind, can mean nothing else: commits of one pull request."""
    change(fleet, ACCURACY, "min_accuracy: 0.4")
    allow(fleet, "lower-gate: harder photos")
    fleet.commit("Say why")

    assert 0 == plan().status


def test_an_entry_from_before_allows_nothing(fleet: GitFleet, plan: Plan) -> None:
    """It counts in the commit that writes it, though the base does not have it."""
    allow(fleet, "lower-gate: harder photos")
    fleet.commit("Say something in advance")
    bold = change(fleet, ACCURACY, "min_accuracy: 0.4")
    said = plan()

    assert 12 == said.status
    assert bold[:12] in said.err


def test_small_changes_do_not_add_up(fleet: GitFleet, plan: Plan) -> None:
    """Boards that left one by one, each with a review, are not many that leave at once."""
    base = change(fleet, LUXOR_02, LUXOR_02 + LUXOR_03 + LUXOR_04)
    change(fleet, LUXOR_02, "")
    change(fleet, LUXOR_03, "")
    said = plan(base=base)

    assert 0 == said.status, said
    assert "2 of 5 boards leave the fleet: luxor-02, luxor-03 (meant: bit by bit: no commit" in said.out


def test_more_of_the_same_does_not_hide_it(fleet: GitFleet, plan: Plan) -> None:
    """Boards that left unasked stay refused when one more leaves, or a gate falls further with a reason."""
    base = change(fleet, LUXOR_02, LUXOR_02 + LUXOR_03 + LUXOR_04)
    gone = change(fleet, LUXOR_02 + LUXOR_03, "")
    change(fleet, LUXOR_04, "")
    boards = plan(base=base)
    low = change(fleet, ACCURACY, "min_accuracy: 0.4")
    allow(fleet, "lower-gate: harder photos")
    change(fleet, "min_accuracy: 0.4", "min_accuracy: 0.3")
    gates = plan(base=gone)

    assert f"3 of 5 boards leave the fleet: luxor-02, luxor-03, luxor-04 (since {gone[:12]})" in boards.out
    assert f"toy: min_accuracy 0.5 -> 0.3 (since {low[:12]})" in gates.out
    assert [12, 12] == [boards.status, gates.status]


def test_a_commit_that_cannot_be_read_is_passed_over(fleet: GitFleet, plan: Plan) -> None:
    """The next one that can be read answers for what was lost in between, and not for more."""
    good = fleet.manifest.read_text()
    fleet.manifest.write_text("kind: Nonsense\n")
    fleet.commit("Break")
    fleet.git("rm", "-q", "inventory/fleet.yaml")
    fleet.commit("Break more")
    fleet.manifest.write_text(good)
    fleet.commit("Mend")
    mended = plan()
    fleet.manifest.write_text("kind: Nonsense\n")
    fleet.commit("Break again")
    fleet.manifest.write_text(good.replace(ACCURACY, "min_accuracy: 0.4"))
    lossy = fleet.commit("Mend, and lose something")
    harmless(fleet)
    said = plan()

    assert 0 == mended.status
    assert 12 == said.status
    assert f"toy: min_accuracy 0.5 -> 0.4 (since {lossy[:12]})" in said.out


def test_a_base_that_cannot_be_read_is_meant_once(fleet: GitFleet, plan: Plan) -> None:
    """A commit says so, the one that mended it or a later one; those behind it need not."""
    good = fleet.manifest.read_text()
    fleet.manifest.write_text("kind: Nonsense\n")
    broken = fleet.commit("Break")
    fleet.manifest.write_text(good)
    fleet.commit("Mend")
    unsaid = plan(base=broken)
    allow(fleet, "unreadable-base: mended")
    fleet.commit("Say that it is mended")
    change(fleet, "  allow: {unreadable-base: mended}\n", "")

    assert [12, 0] == [unsaid.status, plan(base=broken).status]
    assert "say so in this very change: `rollout: {allow: {unreadable-base: WHY}}`" in unsaid.err


def test_a_merge_is_one_change(fleet: GitFleet, plan: Plan) -> None:
    """In which of its commits a branch gave the reason is its own business."""
    harmless(fleet)
    fleet.git("checkout", "-q", "-b", "branch")
    change(fleet, SAMPLES, "samples: 6, min_agreement: 0.5}")
    allow(fleet, "lower-gate: harder photos")
    change(fleet, ACCURACY, "min_accuracy: 0.4")
    fleet.git("checkout", "-q", "main")
    fleet.git("merge", "-q", "--no-ff", "-m", "Merge", "branch")
    change(fleet, "  allow: {lower-gate: harder photos}\n", "")

    assert 0 == plan().status


def test_a_branch_that_took_main_in_is_held_against_main(fleet: GitFleet, plan: Plan) -> None:
    """Its own commits never saw what main had: that they lack it takes nothing away."""
    fleet.git("checkout", "-q", "-b", "branch")
    harmless(fleet)
    fleet.git("checkout", "-q", "main")
    base = change(fleet, ACCURACY, "min_accuracy: 0.7")
    fleet.git("checkout", "-q", "branch")
    fleet.git("merge", "-q", "--no-commit", "main")
    allow(fleet, "lower-gate: harder photos")
    fleet.edit(SAMPLES, "samples: 6, min_agreement: 0.5}")
    change(fleet, "min_accuracy: 0.7", "min_accuracy: 0.6")
    change(fleet, "  allow: {lower-gate: harder photos}\n", "")

    assert 0 == plan(base=base).status


def test_where_history_was_rewritten_the_whole_change_counts(fleet: GitFleet, plan: Plan) -> None:
    """Nobody knows the way then: a reason must stand in the files here."""
    elsewhere = harmless(fleet)
    fleet.git("reset", "-q", "--hard", "HEAD~1")
    allow(fleet, "lower-gate: harder photos")
    change(fleet, ACCURACY, "min_accuracy: 0.4")
    here = plan(base=elsewhere)
    change(fleet, "  allow: {lower-gate: harder photos}\n", "")

    assert [0, 12] == [here.status, plan(base=elsewhere).status]


def test_what_is_not_committed_answers_for_itself(fleet: GitFleet, plan: Plan) -> None:
    """It is the last step, and has no name: the change itself can say that it is meant."""
    harmless(fleet)
    fleet.edit(ACCURACY, "min_accuracy: 0.4")
    refused = plan()
    allow(fleet, "lower-gate: harder photos")

    assert 12 == refused.status
    assert "if that is meant, say so in this very change" in refused.err
    assert 0 == plan().status


def test_a_build_on_the_way_is_none_by_hand(fleet: GitFleet, plan: Plan) -> None:
    """A commit's lock is held against the cards of the same commit."""
    fleet.edit(SAMPLES, "samples: 7}")
    fleet.build()
    fleet.commit("Build")
    path = fleet.root / "model_artifacts" / "fleet.lock"
    lock = json.loads(path.read_text())
    lock["models"]["toy"]["variants"]["int8"]["metrics"]["top1"] = 0.75
    path.write_text(json.dumps(lock, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    allow(fleet, "edited-lock: measured again")
    fleet.commit("Measure by hand")
    change(fleet, "  allow: {edited-lock: measured again}\n", "")
    said = plan()

    assert "measured again" in said.out
    assert 0 == said.status, said


def test_a_change_without_danger_looks_at_no_commit(
    fleet: GitFleet, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading every commit of a large fleet takes its time; most changes need none of it."""
    monkeypatch.setattr(Commits, "since", lambda *_: pytest.fail("looked"))
    harmless(fleet)

    assert 0 == plan().status


def test_commits_are_told_since_something(capsys: pytest.CaptureFixture[str], plan: Plan) -> None:
    """Without a base, or with an empty one, it is exit 2: never a plan of another kind."""
    without, empty = say(capsys, "plan", "--commit-by-commit"), plan(base="")

    assert [2, 2] == [without.status, empty.status]
    assert "give --base" in without.err
    assert "git knows no commit ''" in empty.err
