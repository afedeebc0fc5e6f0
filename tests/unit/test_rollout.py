"""Rollouts on simulated boards: waves, gates, reverts, and what is left when they end."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from little_fleet import CANARY_THEN_ALL, LittleFleet
from msgspec.structs import replace

from fleetctl.driver import drive
from fleetctl.errors import GatePaused, RollbackFailed, SmokeFailed, TransportError
from fleetctl.events import BoardSettled, GateDecided, RolloutFinished, SoakStarted, WaveStarted, event_json
from fleetctl.manifest.schema import Gate, OnInconclusive, RevertPolicy, Via, Wave
from fleetctl.plan import Plan
from fleetctl.rollout.failure import failure
from fleetctl.rollout.machine import at_gate, start
from fleetctl.rollout.state import Outcome
from fleetctl.smoke import BoardVerdict, Verdict
from fleetctl.store import BlobStore, canonical_json
from fleetctl.transports.base import Order, Reply
from fleetctl.transports.fake import FakeTransport
from fleetctl.transports.faults import Faults
from fleetctl.transports.routed import RoutedTransport


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store")


def test_a_good_release_reaches_every_board_wave_by_wave(store: BlobStore) -> None:
    """Canary, half, all: each wave opens after the one before proved itself, and everybody is verified."""
    world = LittleFleet(store)
    state = world.roll_out()

    assert dict.fromkeys(world.fleet.boards, "verified") == world.verdicts(state)
    assert [("b00",), ("b01",), ("b02", "b03")] == [
        e.boards for e in world.events if isinstance(e, WaveStarted)
    ]
    assert failure(state) is None


def test_a_second_rollout_touches_nothing(store: BlobStore) -> None:
    """Where every board proved what git says, the plan is empty and no wave opens."""
    world = LittleFleet(store)
    world.roll_out()
    world.events.clear()
    plan = world.plan()
    state = world.roll_out(plan)

    assert plan.is_empty
    assert {"untouched"} == set(world.verdicts(state).values())
    assert [RolloutFinished] == [type(event) for event in world.events]


def test_a_bad_release_stops_at_the_canary(store: BlobStore) -> None:
    """Wrong answers on the canary: it goes back, the other boards never hear of the release, exit 40."""
    world = LittleFleet(store)
    world.roll_out()
    before = world.running()
    world.version, world.faults = 2, {"*": {"bad_answers": 1.0}}
    state = world.roll_out()
    error = failure(state)

    assert {
        "b00": "rolled_back",
        "b01": "untouched",
        "b02": "untouched",
        "b03": "untouched",
    } == world.verdicts(state)
    assert before == world.running()
    assert isinstance(error, SmokeFailed)
    assert error.exit_code == 40


@pytest.mark.parametrize(
    ("policy", "left_on_the_new"),
    [
        (RevertPolicy.FAILED, ["b00", "b01", "b02"]),
        (RevertPolicy.WAVE, ["b00", "b01"]),
        (RevertPolicy.ALL, []),
    ],
)
def test_the_manifest_says_who_goes_back_with_a_failed_board(
    store: BlobStore, policy: RevertPolicy, left_on_the_new: list[str]
) -> None:
    """b03 fails in the last wave: it, its wave, or everybody of this rollout returns to the old release."""
    world = LittleFleet(store, revert=policy)
    world.roll_out()
    old = world.running()
    world.version, world.faults = 2, {"b03": {"bad_answers": 1.0}}
    state = world.roll_out()
    now = world.running()

    assert left_on_the_new == [board for board in now if now[board] != old[board]]
    assert state.outcome is Outcome.FAILED


def test_a_board_that_cannot_go_back_is_the_loudest(store: BlobStore) -> None:
    """A revert that fails ends in exit 41, whatever else went well."""
    world = LittleFleet(store)
    world.roll_out()
    world.version, world.faults = 2, {"b00": {"bad_answers": 1.0, "revert_fails": True}}
    state = world.roll_out()

    assert world.verdicts(state)["b00"] == "rollback_failed"
    assert isinstance(failure(state), RollbackFailed)


def test_an_offline_board_is_deferred_and_joins_later(store: BlobStore) -> None:
    """Offline is neither failure nor success; when the board is back the same command brings it up."""
    world = LittleFleet(store, faults={"b02": {"unreachable": True}})
    state = world.roll_out()

    assert world.verdicts(state)["b02"] == "deferred"
    assert failure(state) is None

    world.faults = {}
    again = world.roll_out()

    assert {"b00": "untouched", "b01": "untouched", "b02": "verified", "b03": "untouched"} == world.verdicts(
        again
    )


def test_an_offline_board_in_a_converged_fleet_is_no_error(store: BlobStore) -> None:
    """Where everybody who can be asked does what git says, there is nothing to do, and that is success."""
    world = LittleFleet(store)
    world.roll_out()
    world.faults = {"b02": {"unreachable": True}}
    state = world.roll_out()

    assert world.verdicts(state)["b02"] == "deferred"
    assert failure(state) is None


def test_a_fleet_that_is_wholly_offline_is_an_error(store: BlobStore) -> None:
    """Nobody reached means nothing done: exit 30, not success."""
    error = failure(LittleFleet(store, faults={"*": {"unreachable": True}}).roll_out())

    assert isinstance(error, TransportError)
    assert error.exit_code == 30


def test_a_hot_board_pauses_the_rollout(store: BlobStore) -> None:
    """A board too hot to be judged neither passes nor fails: a person decides, later waves stay shut."""
    world = LittleFleet(store, faults={"b01": {"hot": True}})
    state = world.roll_out()

    assert world.verdicts(state)["b01"] == "inconclusive"
    assert world.verdicts(state)["b02"] == "untouched"
    assert isinstance(failure(state), GatePaused)


def test_doubt_can_be_made_to_count_as_failure(store: BlobStore) -> None:
    """With `inconclusive: fail` the same hot board fails its gate."""
    gate = Gate(inconclusive=OnInconclusive.FAIL)
    state = LittleFleet(store, gate=gate, faults={"b01": {"hot": True}}).roll_out()

    assert state.outcome is Outcome.FAILED


def test_a_verified_wave_is_watched_before_its_gate_decides(store: BlobStore) -> None:
    """Soak happens between the proof and the gate, for as long as the manifest says."""
    world = LittleFleet(store, waves=(Wave(group="canary", soak=60.0), Wave(fraction=1.0)))
    world.roll_out()
    kinds = [type(event) for event in world.events]

    assert 60.0 == sum(world.clock.slept)
    assert kinds.index(SoakStarted) < kinds.index(GateDecided)


def test_a_board_that_falls_over_while_watched_goes_back(store: BlobStore) -> None:
    """A canary whose service has something else loaded after the soak is rolled back and the gate fails."""
    world = LittleFleet(store, waves=(Wave(group="canary", soak=60.0), Wave(fraction=1.0)))
    world.roll_out()
    old = world.running()
    world.version = 2

    def fall_over(seconds: float) -> None:
        world.clock.now += seconds
        record = world.transport._recall("b00")
        record.current = old["b00"]  # somebody else swapped it back meanwhile

    world.clock.sleep = fall_over  # type: ignore[method-assign]
    state = world.roll_out()

    assert world.verdicts(state)["b00"] == "rolled_back"
    assert world.verdicts(state)["b01"] == "untouched"


def test_a_canary_that_falls_silent_while_watched_proves_nothing(store: BlobStore) -> None:
    """It was verified, and nobody can tell whether it still is: the rollout pauses, and nobody goes back."""
    world = LittleFleet(store, waves=(Wave(group="canary", soak=60.0), Wave(fraction=1.0)))
    fall_silent(world, "b00")
    state = world.roll_out()

    assert {"b00": "inconclusive", "b01": "untouched", "b02": "untouched", "b03": "untouched"} == (
        world.verdicts(state)
    )
    assert "while being watched" in state.verdicts["b00"].reasons[0]
    assert isinstance(failure(state), GatePaused)
    assert "inconclusive" == [e for e in world.events if isinstance(e, BoardSettled)][-1].verdict


def test_one_board_that_falls_silent_leaves_the_others_to_be_judged(store: BlobStore) -> None:
    """b01 is gone and b02 runs something else after the soak: both are told apart, and b02 goes back."""
    waves = (Wave(group="canary"), Wave(fraction=1.0, soak=60.0))
    world = LittleFleet(store, waves=waves, revert=RevertPolicy.FAILED)
    world.roll_out()
    old = world.running()
    world.version = 2
    fall_silent(world, "b01", lambda: setattr(world.transport._recall("b02"), "current", old["b02"]))
    state = world.roll_out()

    assert {"b00": "verified", "b01": "inconclusive", "b02": "rolled_back", "b03": "verified"} == (
        world.verdicts(state)
    )


def fall_silent(world: LittleFleet, board: str, also: Callable[[], None] = lambda: None) -> None:
    """Cut the board off as soon as somebody waits."""

    def sleep(seconds: float) -> None:
        world.clock.now += seconds
        world.transport.faults = Faults({board: {"unreachable": True}})
        also()

    world.clock.sleep = sleep  # type: ignore[method-assign]


def test_a_canary_that_is_offline_opens_no_other_wave(store: BlobStore) -> None:
    """Nobody of the canary could be asked, so nothing speaks for the release: the other boards wait."""
    world = LittleFleet(store)
    world.roll_out()
    old = world.running()
    world.version, world.faults = 2, {"b00": {"unreachable": True}}
    state = world.roll_out()

    assert ["deferred", "untouched", "untouched", "untouched"] == list(world.verdicts(state).values())
    assert old == world.running()
    error = failure(state)
    assert isinstance(error, GatePaused)
    assert "--on" in error.hint


def test_an_offline_canary_on_several_machines_opens_no_other_wave_either(store: BlobStore) -> None:
    """Joined from shards that found nobody of the canary, its gate stays shut as on one machine."""
    world = LittleFleet(store, faults={"b00": {"unreachable": True}})
    canary = Plan("little", world.plan().waves[:1])
    verdicts = {"b00": BoardVerdict("b00", Verdict.DEFERRED)}
    state, _ = at_gate(canary, world.fleet.rollout, verdicts)

    assert isinstance(failure(state), GatePaused)


def test_a_canary_that_has_proved_the_release_may_be_offline_in_part(store: BlobStore) -> None:
    """One of its boards runs the very release, proved; that the other is away holds nobody up."""
    world = LittleFleet(store, waves=(Wave(fraction=0.5), Wave(fraction=1.0)))
    world.roll_out(world.plan())
    world.version, world.faults = 2, {"b02": {"unreachable": True}, "b03": {"unreachable": True}}
    world.roll_out()
    world.faults = {"b00": {"unreachable": True}}
    state = world.roll_out()

    assert {"b00": "deferred", "b01": "untouched", "b02": "verified", "b03": "verified"} == (
        world.verdicts(state)
    )
    assert failure(state) is None


class BrokenWay(FakeTransport):
    """A transport that cannot take anybody back."""

    def revert(self, *_: object, **__: object) -> Iterator[Reply]:
        raise TransportError("hub unas cannot be reached")
        yield


def test_a_way_that_is_broken_keeps_nobody_else_from_going_back(store: BlobStore) -> None:
    """b02 fails its wave; b01, over a hub that is down, stays and is told of; b03 goes back all the same."""
    world = LittleFleet(store, waves=(Wave(group="canary"), Wave(fraction=1.0)))
    world.roll_out()
    old = world.running()
    good = world.transport
    world.version, world.faults = 2, {"b02": {"bad_answers": 1.0}}
    plan = world.plan()
    boards = world.fleet.boards
    broken = BrokenWay(good.state, good.faults, good.clock, good._records)
    orders = {
        name: Order(
            replace(board, via=Via.IOTHUB if name == "b01" else Via.ANSIBLE),
            world.release(name),
            store.root,
            "c0ffee",
            30.0,
            60.0,
        )
        for name, board in boards.items()
    }
    state = drive(
        start(plan, world.fleet.rollout),
        orders,
        RoutedTransport({Via.IOTHUB: broken, Via.ANSIBLE: good}),
        emit=world.events.append,
        clock=world.clock,
    )
    now = world.running()

    assert {"b00": "verified", "b01": "rollback_failed", "b02": "rolled_back", "b03": "rolled_back"} == (
        world.verdicts(state)
    )
    assert ("hub unas cannot be reached",) == state.verdicts["b01"].reasons
    assert ["b02", "b03"] == [board for board in ("b02", "b03") if now[board] == old[board]]


class Forgetful(FakeTransport):
    """A transport that loses boards' replies."""

    def release(self, orders: Sequence[Order]) -> Iterator[Reply]:
        return (reply for reply in FakeTransport.release(self, orders) if reply.board != "b00")


def test_a_reply_that_never_comes_is_not_a_success(store: BlobStore) -> None:
    """A board the transport forgot is inconclusive, and the rollout pauses."""
    world = LittleFleet(store)
    world.transport = Forgetful(clock=world.clock)
    state = world.roll_out()

    assert world.verdicts(state)["b00"] == "inconclusive"
    assert isinstance(failure(state), GatePaused)


def test_a_board_cannot_answer_for_another(store: BlobStore) -> None:
    """A receipt of another board proves nothing: the liar goes back."""
    world = LittleFleet(store, faults={"b00": {"lies": True}})
    state = world.roll_out()

    assert world.verdicts(state)["b00"] in ("rolled_back", "rollback_failed")
    assert world.verdicts(state)["b01"] == "untouched"


def test_a_dead_controller_leaves_whole_boards(store: BlobStore) -> None:
    """Interrupted after activation: the board reverts by its own clock, and the next run converges."""
    world = LittleFleet(store)
    world.roll_out()
    old = world.running()
    world.version, world.faults = 2, {"b00": {"dies_after_activate": True}}
    world.roll_out()
    world.clock.now += 31
    reverted = world.running()
    world.faults = {}
    state = world.roll_out()

    assert reverted["b00"] == old["b00"]
    assert world.verdicts(state)["b00"] == "verified"
    assert world.plan().is_empty


def test_every_event_is_plain_data(store: BlobStore) -> None:
    """What is journalled can be written as JSON and says what it is."""
    world = LittleFleet(store, waves=CANARY_THEN_ALL)
    world.roll_out()
    written = [canonical_json(event_json(event)) for event in world.events]

    assert len(written) > 5
    assert any(b'"event":"BoardSettled"' in line for line in written)
    settled = [event for event in world.events if isinstance(event, BoardSettled)]
    assert all(event.p95_ms is not None for event in settled)


def test_what_ran_nothing_before_stays_where_it_is(store: BlobStore) -> None:
    """A first rollout whose last wave fails: the boards that proved it have nothing to go back to."""
    world = LittleFleet(store, faults={"b03": {"bad_answers": 1.0}}, waves=CANARY_THEN_ALL)
    state = world.roll_out()

    assert {"b00": "verified", "b01": "verified", "b02": "verified", "b03": "rolled_back"} == (
        world.verdicts(state)
    )
    assert isinstance(failure(state), SmokeFailed)
