"""Rollouts that people pause, resume and abort: what holds, what goes back, and what is written down."""

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from little_fleet import CANARY_THEN_ALL, LittleFleet
from quadrant_fleet import QuadrantFleet

from fleetctl.audit import Audit, Deed
from fleetctl.cli import main
from fleetctl.errors import Aborted, UsageError
from fleetctl.events import RolloutAborted, RolloutHeld, RolloutResumed, SoakStarted, WaveStarted
from fleetctl.manifest.schema import RevertPolicy, Wave
from fleetctl.rollout.failure import failure
from fleetctl.rollout.state import Outcome
from fleetctl.schemas import SCHEMAS
from fleetctl.steering import GO_ON, Helm, Wish, Word, steer, under_way
from fleetctl.store import BlobStore, Lock, lock_holder
from fleetctl.tale import newest_journal, tell

PAUSE, ABORT = Wish(Word.PAUSE, "amira"), Wish(Word.ABORT, "amira")


@dataclass
class Script:
    """People who want one thing after another; in the end, what they wanted last."""

    wishes: list[Wish] = field(default_factory=list)

    def wish(self) -> Wish:
        return self.wishes.pop(0) if len(self.wishes) > 1 else self.wishes[0]


@pytest.fixture
def world(tmp_path: Path) -> LittleFleet:
    """Four boards that run version 1, with version 2 in git."""
    world = LittleFleet(BlobStore(tmp_path / "store"))
    world.roll_out()
    world.events.clear()
    world.version = 2
    return world


def test_a_paused_rollout_opens_no_wave_until_it_is_resumed(world: LittleFleet) -> None:
    """It holds behind the canary for as long as somebody pauses it, then does the rest."""
    state = world.roll_out(steering=Script([PAUSE] * 5 + [Wish(Word.RESUME, "amira")]))
    kinds = [type(event) for event in world.events]
    held, resumed = kinds.index(RolloutHeld), kinds.index(RolloutResumed)
    waves = [index for index, kind in enumerate(kinds) if kind is WaveStarted]

    assert waves[0] < held < resumed < waves[1] < waves[2]
    assert 1 == kinds.count(RolloutHeld)
    assert Outcome.DONE is state.outcome
    assert failure(state) is None


def test_nothing_is_held_where_nothing_is_left(tmp_path: Path) -> None:
    """Behind the last wave there is no further one to hold: the rollout ends."""
    world = LittleFleet(BlobStore(tmp_path / "store"), waves=(Wave(fraction=1.0),))
    state = world.roll_out(steering=Script([PAUSE]))

    assert Outcome.DONE is state.outcome
    assert RolloutHeld not in map(type, world.events)


@pytest.mark.parametrize(
    ("policy", "went_back"),
    [
        (RevertPolicy.FAILED, set[str]()),
        (RevertPolicy.WAVE, {"b01"}),
        (RevertPolicy.ALL, {"b00", "b01"}),
    ],
)
def test_who_aborts_takes_back_what_the_manifest_says(
    world: LittleFleet, policy: RevertPolicy, went_back: set[str]
) -> None:
    """Aborted while it was held behind wave 2: nobody, that wave or all go back; wave 3 never opens."""
    world.revert = policy
    old = world.running()
    state = world.roll_out(steering=Script([GO_ON, GO_ON, PAUSE, ABORT]))
    now, verdicts = world.running(), world.verdicts(state)
    error = failure(state)

    assert Outcome.ABORTED is state.outcome
    assert went_back == {board for board, verdict in verdicts.items() if verdict == "rolled_back"}
    assert {"b00", "b01"} - went_back == {board for board in now if now[board] != old[board]}
    assert ["untouched", "untouched"] == [verdicts["b02"], verdicts["b03"]]
    assert isinstance(error, Aborted)
    assert (43, f"aborted by amira: {len(went_back)} of 4 boards went back") == (
        error.exit_code,
        error.message,
    )


def test_who_aborts_does_not_wait_for_a_watch(world: LittleFleet) -> None:
    """An hour of watching ends at the next look, and its boards go back."""
    world.waves = (Wave(group="canary", soak=3600.0), Wave(fraction=1.0))
    state = world.roll_out(steering=Script([GO_ON, GO_ON, ABORT]))

    assert sum(world.clock.slept) < 60
    assert [SoakStarted, RolloutAborted] == [
        type(event) for event in world.events if isinstance(event, SoakStarted | RolloutAborted)
    ]
    assert "rolled_back" == world.verdicts(state)["b00"]


def test_an_abort_is_heard_behind_the_last_wave(world: LittleFleet) -> None:
    """While the last boards are at work it is not too late."""
    world.revert = RevertPolicy.ALL
    old = world.running()
    state = world.roll_out(steering=Script([*[GO_ON] * 2 * (len(CANARY_THEN_ALL) - 1), ABORT]))

    assert Outcome.ABORTED is state.outcome
    assert old == world.running()


def test_only_the_rollout_that_is_meant_hears(tmp_path: Path) -> None:
    """A wish is for one rollout: the next one in that folder, in the same process even, is not paused."""
    with Helm(tmp_path, "rollout of unas") as first:
        found = under_way(tmp_path)
        assert found is not None
        steer(tmp_path, Word.PAUSE, "amira", found.name)
        assert PAUSE == first.wish()
    assert under_way(tmp_path) is None
    with Helm(tmp_path, "rollout of unas") as second:
        assert GO_ON == second.wish()
        with pytest.raises(UsageError, match="another is under way"):
            steer(tmp_path, Word.ABORT, "amira", found.name)
        steer(tmp_path, Word.ABORT, "amira")
        assert ABORT == second.wish()
        with pytest.raises(UsageError, match="aborted already, by amira"):
            steer(tmp_path, Word.RESUME, "omar")
    with pytest.raises(UsageError, match="no rollout is under way"):
        steer(tmp_path, Word.PAUSE, "amira")


@pytest.mark.parametrize("text", ["", "[]", '{"rollout": "x"}', "{", "\xff"])
def test_a_wish_that_makes_no_sense_is_none(tmp_path: Path, text: str) -> None:
    """Whatever lies in the file, the rollout goes on."""
    (tmp_path / "steering.json").write_text(text, "latin-1")
    with Helm(tmp_path, "rollout of unas") as helm:
        assert GO_ON == helm.wish()


def test_looking_at_a_lock_takes_nothing(tmp_path: Path) -> None:
    """Whoever asks who holds a lock leaves it as it was, held or free."""
    path = tmp_path / "lock"
    assert lock_holder(path) is None
    with Lock(path, "rollout of unas"):
        assert "rollout of unas" == (lock_holder(path) or {})["purpose"]
    assert lock_holder(path) is None
    with Lock(path, "another"):
        pass


def test_what_is_done_is_written_down(tmp_path: Path) -> None:
    """Begun, done, refused and cut short are lines; nothing is ever taken away; many boards are counted."""
    audit = Audit(tmp_path)
    deed = Deed.to([f"b{n}" for n in range(1000)], "rollback", "amira", "page")
    with audit.of(deed, begun=True):
        pass
    with pytest.raises(UsageError), audit.of(deed):
        raise UsageError("no such board")
    with pytest.raises(KeyboardInterrupt), audit.of(deed):
        raise KeyboardInterrupt
    with audit.of(deed) as ending:
        ending.failed = "1 of 2 did not go back"
    lines = audit.latest(9)

    assert ["failed", "cut short", "failed", "done", "begun"] == [line["outcome"] for line in lines]
    assert ["1 of 2 did not go back", "KeyboardInterrupt", "no such board", "", ""] == [
        line["why"] for line in lines
    ]
    assert {("amira", "page", "rollback", 1000, 50)} == {
        (each["who"], each["way"], each["action"], each["boards"], len(each["names"])) for each in lines
    }
    assert 5 == len((tmp_path / "audit.jsonl").read_text().splitlines())
    assert 2 == len(audit.latest(2))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> QuadrantFleet:
    """Three simulated boards with a new release in git, whose canary is to be watched for ten minutes."""
    made = QuadrantFleet.rolled_out(tmp_path_factory.mktemp("fleet"))
    (newest_journal(made.root / ".fleetctl") or made.root).unlink()
    made.edit("defaults: {model", "defaults: {config: {threshold: 0.3}, model")
    made.edit("{group: canary}", "{group: canary, soak: 10m}")
    return made


Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(
    fleet: QuadrantFleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Say]:
    """Runs a command line in the fleet's folder, in this process."""
    monkeypatch.chdir(fleet.root)
    monkeypatch.setenv("FLEETCTL_TRANSPORT", "fake")

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(words)
        said = capsys.readouterr()
        return status, said.out, said.err

    yield run


def wait_for(fleet: QuadrantFleet, event: str) -> None:
    """Until the journal of a rollout has such an event."""
    until = time.monotonic() + 120
    while True:
        path = newest_journal(fleet.root / ".fleetctl")
        if path and event in path.read_text():
            return
        assert time.monotonic() < until, event
        time.sleep(0.05)


@contextlib.contextmanager
def ending(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    """The process, which does not outlive the block."""
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_verbs_for_a_rollout_in_another_process(fleet: QuadrantFleet, say: Say) -> None:
    """Pause, resume and abort reach it, print what they asked, and are written down; it exits 43."""
    with ending(fleet.start("rollout", "--yes", "-o", "json", transport="fake")) as process:
        wait_for(fleet, "SoakStarted")
        printed: dict[str, Any] = {}
        for verb in ("pause", "resume"):
            status, out, _ = say(verb, "-o", "json")
            assert 0 == status
            printed = json.loads(out)
            jsonschema.validate(printed, SCHEMAS["fleetctl.steering/v1"])
            assert (verb, 2, process.pid) == (printed["asked"], printed["boards"], printed["pid"])
        status, _, err = say("abort")
        assert (2, True) == (status, "nobody is there to be asked" in err)
        status, out, err = say("abort", "--yes")
        assert 0 == status
        assert "rollout of quadrants, 2 boards: ends after the boards that are at work" in err
        out, err = process.communicate(timeout=120)
    journal = newest_journal(fleet.root / ".fleetctl")
    assert journal is not None
    tale = tell(map(json.loads, journal.read_text().splitlines()))
    told = Audit(fleet.root / ".fleetctl").latest(3)

    assert 43 == process.returncode, err
    assert "error: aborted by" in err
    jsonschema.validate(json.loads(out), SCHEMAS["fleetctl.rollout/v1"])
    assert ("aborted", "") == (tale.outcome, tale.held_by)
    assert [("abort", "done"), ("resume", "done"), ("pause", "done")] == [
        (line["action"], line["outcome"]) for line in told
    ]


def test_there_is_nothing_to_steer(say: Say) -> None:
    """Without a rollout under way each verb is refused with exit 2, and says what to do instead."""
    for words in (["pause"], ["resume"], ["abort", "--yes"]):
        status, out, err = say(*words)

        assert (2, "") == (status, out)
        assert "no rollout is under way in this folder\nhint:" in err


def test_a_rollback_is_written_down(fleet: QuadrantFleet, say: Say) -> None:
    """Its begin and its end, with who asked and which boards; also where it fails."""
    status, _, _ = say("rollback", "--on", "karnak-01", "--yes")
    ended, begun = Audit(fleet.root / ".fleetctl").latest(2)

    assert 41 == status  # it has had one release only
    assert ("rollback", "command", 1, ["karnak-01"]) == tuple(
        ended[key] for key in ("action", "way", "boards", "names")
    )
    assert ["begun", "failed"] == [begun["outcome"], ended["outcome"]]
    assert "1 of 1 did not go back: karnak-01" == ended["why"]


def test_many_may_look_while_a_rollout_begins(tmp_path: Path) -> None:
    """Whoever looks whether a rollout is under way never keeps one from starting."""
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            under_way(tmp_path)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for each in lookers:
        each.start()
    try:
        for _ in range(50):
            with Helm(tmp_path, "rollout of unas"):
                assert under_way(tmp_path) is not None
    finally:
        over.set()
        for each in lookers:
            each.join()
