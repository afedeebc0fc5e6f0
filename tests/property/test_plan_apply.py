"""Plan and apply hold each other: whatever goes wrong, the next good run leaves nothing to plan."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from little_fleet import LittleFleet

from fleetctl.manifest.schema import Gate, RevertPolicy, Wave
from fleetctl.rollout.failure import failure
from fleetctl.smoke import Verdict
from fleetctl.store import BlobStore

BOARDS = [f"b{i:02d}" for i in range(5)]
FAULTS = st.sampled_from(
    [
        {},
        {"unreachable": True},
        {"timed_out": True},
        {"bad_answers": 1.0},
        {"bad_answers": 1.0, "revert_fails": True},
        {"hot": True},
        {"slow": 900.0},
        {"lies": True},
        {"dies_after_activate": True},
        {"fail_stage": "activate"},
        {"fail_stage": "confirm"},
        {"flaky": 2},
    ]
)
SICK_FLEETS = st.dictionaries(st.sampled_from(BOARDS), FAULTS)
WAVES = st.sampled_from(
    [
        (Wave(fraction=1.0),),
        (Wave(group="canary"), Wave(fraction=1.0)),
        (Wave(group="canary", soak=5), Wave(fraction=0.4), Wave(fraction=1.0)),
        (Wave(fraction=0.2), Wave(fraction=0.4), Wave(fraction=0.6), Wave(fraction=1.0)),
    ]
)


@settings(max_examples=60, deadline=None)
@given(first=SICK_FLEETS, second=SICK_FLEETS, waves=WAVES, revert=st.sampled_from(RevertPolicy))
def test_the_next_good_run_leaves_nothing_to_plan(
    store: BlobStore,
    first: dict[str, Any],
    second: dict[str, Any],
    waves: tuple[Wave, ...],
    revert: RevertPolicy,
) -> None:
    """After any two faulty rollouts of two versions, one without faults converges: the plan is empty."""
    world = LittleFleet(store, count=len(BOARDS), waves=waves, revert=revert, faults=first)
    world.roll_out()
    world.version, world.faults = 2, second
    world.roll_out()
    world.clock.now += 3600  # what was unconfirmed has gone back by itself
    world.faults = {}
    state = world.roll_out()

    assert failure(state) is None
    assert world.plan().is_empty
    assert {world.release(board).digest for board in BOARDS} == set(world.running().values())


@settings(max_examples=60, deadline=None)
@given(faults=SICK_FLEETS, waves=WAVES, revert=st.sampled_from(RevertPolicy), tolerated=st.integers(0, 2))
def test_every_board_ends_in_one_verdict_that_is_true(
    store: BlobStore, faults: dict[str, Any], waves: tuple[Wave, ...], revert: RevertPolicy, tolerated: int
) -> None:
    """`verified` boards serve the new release; `rolled_back`, `untouched` and `deferred` ones do not."""
    world = LittleFleet(
        store, count=len(BOARDS), waves=waves, revert=revert, gate=Gate(canary_failures=tolerated)
    )
    world.roll_out()
    old = world.running()
    world.version, world.faults = 2, faults
    state = world.roll_out()
    now = world.running()

    assert set(BOARDS) == set(state.verdicts)
    for board, verdict in state.verdicts.items():
        new = world.release(board).digest
        if verdict.verdict is Verdict.VERIFIED:
            assert now[board] == new
        elif verdict.verdict in (Verdict.ROLLED_BACK, Verdict.UNTOUCHED, Verdict.DEFERRED):
            assert now[board] == old[board]
    rolled_back = any(
        v.verdict in (Verdict.ROLLED_BACK, Verdict.ROLLBACK_FAILED) for v in state.verdicts.values()
    )
    assert not (rolled_back and failure(state) is None)
