"""Soaks that were cut short: what is left of them, and who is watched before another wave opens."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from little_fleet import Killed, LittleFleet, SilentClock

from fleetctl.errors import Aborted, GatePaused
from fleetctl.events import (
    BoardSettled,
    GateDecided,
    RevertStarted,
    RolloutFinished,
    SoakResumed,
    WaveStarted,
)
from fleetctl.manifest.schema import OnInconclusive, RevertPolicy, Wave
from fleetctl.observation import Observed
from fleetctl.plan import Action, Plan, Step, WaveSteps
from fleetctl.rollout.failure import failure
from fleetctl.rollout.machine import at_gate
from fleetctl.rollout.state import Outcome
from fleetctl.smoke import BoardVerdict, Verdict
from fleetctl.soak import soak_left
from fleetctl.steering import GO_ON, Wish, Word
from fleetctl.store import BlobStore
from fleetctl.transports.faults import Faults

WANTED, OTHER = "a" * 64, "b" * 64
AT_NOON, A_MINUTE_LATER = "2026-01-01T12:00:00Z", "2026-01-01T12:01:00Z"


def left_of(soak: float, time: Any, receipt: dict[str, Any], action: Action = Action.NOTHING) -> float | None:
    """Seconds for which a canary with that receipt is still to be watched."""
    step = Step("b00", action, (), WANTED, WANTED)
    seen = Observed.parse("b00", {"time": time, "receipt": receipt})
    return soak_left(Plan("unas", (WaveSteps(1, "canary", soak, (step,)),)), {"b00": seen}).get("b00")


@pytest.mark.parametrize(
    ("soak", "time", "proved", "left"),
    [
        (90.0, A_MINUTE_LATER, AT_NOON, 30.0),
        (60.0, A_MINUTE_LATER, AT_NOON, None),
        (0.0, AT_NOON, AT_NOON, None),
        (90.0, AT_NOON, A_MINUTE_LATER, 90.0),  # the clock went back since
        (90.0, AT_NOON, "9999-12-31T23:59:59Z", 90.0),
        (90.0, "0001-01-01T00:00:00Z", AT_NOON, 90.0),
        (90.0, AT_NOON, "0001-01-01T00:00:00Z", None),
        (90.0, "", AT_NOON, None),
        (90.0, AT_NOON, None, None),
        (90.0, AT_NOON, 1e9, None),
        (90.0, AT_NOON, "noon", None),
        (90.0, ["2026"], AT_NOON, None),
    ],
)
def test_what_is_left_follows_from_the_board_s_own_clock(
    soak: float, time: Any, proved: Any, left: float | None
) -> None:
    """Its soak less the age of its proof, never more than the soak; nothing where a time is none."""
    assert left == left_of(soak, time, {"release": WANTED, "time": proved})


def test_only_a_proof_of_what_git_says_is_young() -> None:
    """A receipt of another release says nothing of this one, and who is released now is watched anyway."""
    assert 90.0 == left_of(90.0, AT_NOON, {"release": WANTED, "time": AT_NOON})
    assert left_of(90.0, AT_NOON, {"release": OTHER, "time": AT_NOON}) is None
    assert left_of(90.0, AT_NOON, {}) is None
    for action in (Action.UPDATE, Action.REPROVE, Action.DEFER):
        assert left_of(90.0, AT_NOON, {"release": WANTED, "time": AT_NOON}, action) is None


def kill_while_watching(world: LittleFleet, after: float) -> None:
    """Roll out version 2, and die so many seconds into the first soak."""
    world.roll_out()
    world.version = 2
    world.clock.slept.clear()

    def sleep(seconds: float) -> None:
        if sum(world.clock.slept) >= after:
            raise Killed
        SilentClock.sleep(world.clock, seconds)

    world.clock.sleep = sleep  # type: ignore[method-assign]
    with pytest.raises(Killed):
        world.roll_out()
    del world.clock.sleep
    world.clock.slept.clear()
    world.events.clear()


def while_watching(world: LittleFleet, happens: Callable[[], None]) -> None:
    """Have something happen whenever somebody waits."""

    def sleep(seconds: float) -> None:
        SilentClock.sleep(world.clock, seconds)
        happens()

    world.clock.sleep = sleep  # type: ignore[method-assign]


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store")


@pytest.fixture
def world(store: BlobStore) -> LittleFleet:
    """Four boards of which the canary runs version 2; whoever watched it for 60 s was killed after 20."""
    world = LittleFleet(store, waves=(Wave(group="canary", soak=60.0), Wave(fraction=1.0)))
    kill_while_watching(world, 20.0)
    return world


def test_the_canary_is_watched_for_the_rest(world: LittleFleet) -> None:
    """25 s after its proof, 35 s are left; then the gate opens, and the other boards follow."""
    world.clock.now += 5.0
    state = world.roll_out()

    assert 35.0 == sum(world.clock.slept)
    assert SoakResumed(1, "canary", ("b00",), 35.0) == world.events[0]
    assert [GateDecided, WaveStarted] == [type(event) for event in world.events[1:3]]
    assert {"b00": "untouched", "b01": "verified", "b02": "verified", "b03": "verified"} == (
        world.verdicts(state)
    )
    assert failure(state) is None


def test_a_soak_that_is_over_is_not_repeated(world: LittleFleet) -> None:
    """A minute after its proof the canary has nothing left to show."""
    world.clock.now += 40.0
    state = world.roll_out()

    assert [] == world.clock.slept
    assert WaveStarted is type(world.events[0])
    assert failure(state) is None


@pytest.mark.parametrize("policy", OnInconclusive)
def test_a_canary_that_falls_over_meanwhile_pauses(world: LittleFleet, policy: OnInconclusive) -> None:
    """This rollout released nothing to it and takes nothing back: a person decides, and is told how."""
    world.gate = type(world.gate)(inconclusive=policy)
    record = world.transport._recall("b00")
    now = record.current
    while_watching(world, lambda: setattr(record, "current", record.receipts[0]["release"]))
    state = world.roll_out()
    error = failure(state)

    assert isinstance(error, GatePaused)
    assert (
        "paused: b00, released by an earlier rollout, fell over while being watched: "
        "the service has another release loaded"
    ) == error.message
    assert "`fleetctl rollback --on b00`" in error.hint
    assert ["inconclusive", "untouched", "untouched", "untouched"] == list(world.verdicts(state).values())
    assert [SoakResumed, BoardSettled, GateDecided, RolloutFinished] == [type(e) for e in world.events]
    assert now != record.current


@pytest.mark.parametrize("policy", OnInconclusive)
def test_a_canary_that_falls_silent_meanwhile_pauses(world: LittleFleet, policy: OnInconclusive) -> None:
    """Nobody can tell whether it holds, so no other wave opens, whatever the manifest says of doubt."""
    world.gate = type(world.gate)(inconclusive=policy)
    while_watching(world, lambda: setattr(world.transport, "faults", Faults({"b00": {"unreachable": True}})))
    state = world.roll_out()

    assert isinstance(failure(state), GatePaused)
    assert "b00, released by an earlier rollout, fell silent while being watched" in state.reason
    assert ["inconclusive", "untouched", "untouched", "untouched"] == list(world.verdicts(state).values())


def test_who_only_proved_again_what_it_ran_has_nothing_to_go_back_to(store: BlobStore) -> None:
    """To be told to go back to that very release would make it believe that it had, and stay there when asked
    in earnest: a person decides."""
    world = LittleFleet(store, waves=(Wave(group="canary", soak=60.0), Wave(fraction=1.0)))
    world.roll_out()
    record = world.transport._recall("b00")
    kept, record.good = record.current, None
    assert Action.REPROVE is next(iter(world.plan().steps)).action
    while_watching(world, lambda: setattr(record, "current", OTHER))
    world.events.clear()
    state = world.roll_out()
    error = failure(state)

    assert isinstance(error, GatePaused)
    assert "`fleetctl rollback --on b00` takes that release back" in error.hint
    assert RevertStarted not in map(type, world.events)
    assert "inconclusive" == world.verdicts(state)["b00"]
    assert not [receipt for receipt in record.receipts if receipt.get("left") == kept]


def test_who_aborts_does_not_wait_for_the_rest(world: LittleFleet) -> None:
    """And nobody goes back: this rollout has released nothing."""
    world.revert = RevertPolicy.ALL
    now = world.running()
    wishes = iter([GO_ON, GO_ON])

    class Script:
        def wish(self) -> Wish:
            return next(wishes, Wish(Word.ABORT, "amira"))

    state = world.roll_out(steering=Script())

    assert isinstance(failure(state), Aborted)
    assert sum(world.clock.slept) < 5
    assert now == world.running()


def test_who_pauses_holds_what_is_behind_the_rest(world: LittleFleet) -> None:
    """The canary is watched and judged; the next wave waits until somebody resumes."""
    wishes = iter([Wish(Word.PAUSE, "amira")] * 100)

    class Script:
        def wish(self) -> Wish:
            return next(wishes, Wish(Word.ABORT, "amira"))

    state = world.roll_out(steering=Script())

    assert Outcome.ABORTED is state.outcome
    assert "open" == next(e.decision for e in world.events if isinstance(e, GateDecided))
    assert WaveStarted not in map(type, world.events)


def test_nobody_is_watched_where_no_wave_would_open(store: BlobStore) -> None:
    """Killed behind the last wave, a rollout that is run again has nothing to do, and does not wait."""
    world = LittleFleet(store, waves=(Wave(group="canary"), Wave(fraction=1.0, soak=60.0)))
    kill_while_watching(world, 20.0)
    state = world.roll_out()

    assert [RolloutFinished] == [type(event) for event in world.events]
    assert [] == world.clock.slept
    assert Outcome.DONE is state.outcome


def half_a_wave(store: BlobStore) -> LittleFleet:
    """A killed rollout whose first wave has b00, on version 2, and b01, which was away and is back."""
    waves = (Wave(fraction=0.5, soak=60.0), Wave(fraction=1.0))
    world = LittleFleet(store, waves=waves, revert=RevertPolicy.ALL)
    world.roll_out()
    world.faults = {"b01": {"unreachable": True}}
    kill_while_watching(world, 20.0)
    world.faults = {}
    return world


def test_a_wave_may_be_new_in_part(store: BlobStore) -> None:
    """b01 is released now and watched for the whole soak, and b00 along with it."""
    world = half_a_wave(store)
    state = world.roll_out()

    assert 60.0 == sum(world.clock.slept)
    assert ["untouched", "verified", "verified", "verified"] == list(world.verdicts(state).values())


def test_what_was_released_before_is_not_taken_back_with_what_is_new(store: BlobStore) -> None:
    """b00 falls over beside b01, which holds: the gate stays shut, and neither is written to."""
    world = half_a_wave(store)
    record = world.transport._recall("b00")
    while_watching(world, lambda: setattr(record, "current", None))
    state = world.roll_out()

    assert ["inconclusive", "verified", "untouched", "untouched"] == list(world.verdicts(state).values())
    assert RevertStarted not in map(type, world.events)
    assert isinstance(failure(state), GatePaused)


def test_who_is_new_goes_back_alone(store: BlobStore) -> None:
    """Both fall over: b01 was released now and goes back, b00 is left to a person."""
    world = half_a_wave(store)
    records = [world.transport._recall(name) for name in ("b00", "b01")]
    old = records[1].current

    def fall_over() -> None:
        for record in records:
            record.current = old

    while_watching(world, fall_over)
    state = world.roll_out()

    assert [("b01",)] == [e.boards for e in world.events if isinstance(e, RevertStarted)]
    assert ["inconclusive", "rolled_back", "untouched", "untouched"] == list(world.verdicts(state).values())


@pytest.mark.parametrize(("loaded", "outcome"), [(2, Outcome.DONE), (1, Outcome.PAUSED)])
def test_whoever_joins_shards_that_had_nothing_to_do_watches_too(
    world: LittleFleet, loaded: int, outcome: Outcome
) -> None:
    """On several machines a killed wave is as little forgotten as on one."""
    plan = Plan("little", world.plan().waves[:1])
    verdicts = {"b00": BoardVerdict("b00", Verdict.UNTOUCHED)}
    left = soak_left(plan, world.seen)
    state, commands = at_gate(plan, world.fleet.rollout, verdicts, soak_left=left)
    if loaded == 1:
        while_watching(world, lambda: setattr(world.transport._recall("b00"), "current", OTHER))
    state = world.drive((state, commands))

    assert 40.0 == sum(world.clock.slept)
    assert outcome is state.outcome
