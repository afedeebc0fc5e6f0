"""A wave that is split and joined is the wave: nobody twice, nobody left out, and the same verdict."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from little_fleet import LittleFleet

from fleetctl.driver import drive
from fleetctl.manifest.schema import Board, BoardKind, Gate, OnInconclusive, RevertPolicy, VariantName, Wave
from fleetctl.observing import observe
from fleetctl.plan import WaveSteps, make_plan
from fleetctl.rollout.machine import at_gate, start
from fleetctl.rollout.state import Outcome, Rollout
from fleetctl.sharding import Shard, ShardResult, in_shard, join, read_result, shard_of
from fleetctl.smoke import Verdict
from fleetctl.store import BlobStore, canonical_json
from fleetctl.transports.base import Order
from fleetctl.transports.faults import Faults

NAMES = st.lists(st.text("abcxyz0189-", min_size=1, max_size=12), unique=True, max_size=40)
BOARDS = [f"b{i:02d}" for i in range(7)]
FAULTS = st.dictionaries(
    st.sampled_from(BOARDS),
    st.sampled_from(
        [
            {"unreachable": True},
            {"timed_out": True},
            {"bad_answers": 1.0},
            {"bad_answers": 1.0, "revert_fails": True},
            {"hot": True},
            {"lies": True},
            {"fail_stage": "activate"},
        ]
    ),
    max_size=4,
)
WAVES = (Wave(group="canary"), Wave(fraction=0.5, soak=5), Wave(fraction=1.0))


def board(name: str) -> Board:
    return Board(name, BoardKind.GENERIC, "m", VariantName.INT8)


@given(names=NAMES, of=st.integers(1, 20), newcomers=NAMES)
def test_shards_share_a_wave_out(names: list[str], of: int, newcomers: list[str]) -> None:
    """Every board is in exactly one shard; no newcomer, and no other order, moves it to another."""
    first = {name: shard_of(board(name), of) for name in names}
    later = {name: shard_of(board(name), of) for name in reversed([*names, *newcomers])}

    assert all(1 <= number <= of for number in first.values())
    assert first == {name: later[name] for name in names}
    assert all(
        1 == sum(Shard(number, of).holds(board(name)) for number in range(1, of + 1)) for name in names
    )


def orders(world: LittleFleet, boards: list[str]) -> dict[str, Order]:
    return {
        name: Order(world.fleet.boards[name], world.release(name), world.store.root, "c0ffee", 30.0, 60.0)
        for name in boards
    }


def release(world: LittleFleet, wave: int, shard: Shard) -> ShardResult:
    """As the verb does on one machine: plan and release the boards of one shard."""
    fleet = world.fleet
    mine = in_shard(fleet, wave, shard)
    seen = observe(world.transport, [fleet.boards[name] for name in mine], deadline=1)
    plan = make_plan(fleet, {name: world.release(name) for name in mine}, seen, {})
    begun = start(plan, fleet.rollout, is_shard=True)
    touched = [step.board for step in plan.steps if step.action.touches]
    state = drive(begun, orders(world, touched), world.transport, emit=world.events.append, clock=world.clock)
    steps = plan.waves[0] if plan.waves else WaveSteps(wave, "nobody", 0.0, ())
    return ShardResult(fleet.name, "c0ffee", shard, steps, state.verdicts)


def judge(world: LittleFleet, wave: int, results: dict[str, ShardResult]) -> Rollout:
    """As the verb does on the machine that joins."""
    fleet = world.fleet
    desired = {name: world.release(name).digest for name in fleet.boards}
    found = join(fleet, wave, results, commit="c0ffee", desired=desired)
    kept = [name for name, said in found.verdicts.items() if said.verdict is Verdict.VERIFIED]
    begun = at_gate(found.plan, fleet.rollout, found.verdicts, found.doubt)
    return drive(begun, orders(world, kept), world.transport, emit=world.events.append, clock=world.clock)


def sharded(world: LittleFleet, of: int, order: list[int]) -> tuple[dict[str, str], Outcome | None]:
    """A whole rollout in shards, which come in any order; verdicts of the boards whose wave opened."""
    world.transport.faults = Faults(world.faults)
    results: dict[str, ShardResult] = {}
    state: Rollout | None = None
    for wave in (1, 2, 3):
        for number in order:
            found = release(world, wave, Shard(number, of))
            results[f"{wave}-{number}"] = read_result("f", canonical_json(found.to_json()))
        state = judge(world, wave, results)
        if state.outcome is not Outcome.DONE:
            break
    assert state
    return world.verdicts(state), state.outcome


@settings(max_examples=15, deadline=None)
@given(
    faults=FAULTS,
    revert=st.sampled_from(RevertPolicy),
    inconclusive=st.sampled_from(OnInconclusive),
    success=st.sampled_from([0.5, 0.95]),
    order=st.integers(1, 4).flatmap(lambda of: st.permutations(range(1, of + 1))),
)
def test_shards_come_to_what_one_machine_comes_to(
    store: BlobStore,
    faults: dict[str, Any],
    revert: RevertPolicy,
    inconclusive: OnInconclusive,
    success: float,
    order: list[int],
) -> None:
    """Verdict by verdict, outcome and what boards run in the end, whatever is wrong with them."""

    def world() -> LittleFleet:
        gate = Gate(success=success, inconclusive=inconclusive)
        made = LittleFleet(store, count=len(BOARDS), waves=WAVES, revert=revert, gate=gate)
        made.roll_out()
        made.version, made.faults = 2, faults
        return made

    alone, split = world(), world()
    state = alone.roll_out()
    verdicts, outcome = sharded(split, len(order), order)
    whole = alone.verdicts(state)

    assert outcome is state.outcome
    assert verdicts == {name: whole[name] for name in verdicts}
    assert alone.running() == split.running()


@settings(max_examples=20, deadline=None)
@given(
    faults=FAULTS,
    inconclusive=st.sampled_from(OnInconclusive),
    of=st.integers(2, 4),
    lost=st.integers(1, 4),
)
def test_a_missing_shard_never_opens_a_gate(
    store: BlobStore, faults: dict[str, Any], inconclusive: OnInconclusive, of: int, lost: int
) -> None:
    """Not even where the manifest looks away from boards that could not be judged."""
    world = LittleFleet(
        store, count=len(BOARDS), waves=WAVES, gate=Gate(inconclusive=inconclusive), faults=faults
    )
    world.transport.faults = Faults(faults)
    numbers = [number for number in range(1, of + 1) if number != min(lost, of)]
    results = {str(number): release(world, 3, Shard(number, of)) for number in numbers}

    assert judge(world, 3, results).outcome in (Outcome.PAUSED, Outcome.FAILED)


def test_results_need_no_order(store: BlobStore) -> None:
    """Joined from the last to the first they are the same plan."""
    world = LittleFleet(store, count=len(BOARDS), waves=WAVES)
    results = {str(number): release(world, 3, Shard(number, 3)) for number in (1, 2, 3)}
    desired = {name: world.release(name).digest for name in world.fleet.boards}
    turned = dict(reversed(results.items()))
    one, other = (join(world.fleet, 3, each, commit="c0ffee", desired=desired) for each in (results, turned))

    assert one == other
    assert list(one.verdicts) == list(other.verdicts)
