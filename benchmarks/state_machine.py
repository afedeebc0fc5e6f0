"""What deciding costs a rollout, apart from boards: every board settles, one wave's gate opens the next.

A board must not cost more among many: 100,000 are held against 1,000, by board.
"""

import statistics
from collections.abc import Iterator
from functools import partial

from benchmarks.harness import Result, interleave
from fleetctl.manifest.schema import RolloutPolicy
from fleetctl.plan import Action, Plan, Step, WaveSteps
from fleetctl.rollout.machine import start, step
from fleetctl.rollout.state import Allowed, Outcome, Phase, Settled
from fleetctl.smoke import BoardVerdict, Verdict

FEW, MANY, MOST = 1_000, 10_000, 100_000  # boards
GROWTH = 1.5  # processors keep what belongs to a thousand boards nearer than what belongs to more
ROUNDS = 3


def measure() -> Iterator[Result]:
    sizes = (FEW, MANY, MOST)
    plans = {f"{boards:,} boards settle, a board": plan_of(boards) for boards in sizes}
    samples = interleave({name: partial(roll_out, plan) for name, plan in plans.items()}, ROUNDS)
    of_one = dict(zip(plans, sizes, strict=True))
    micro = {name: 1e6 * statistics.median(samples[name]) / boards for name, boards in of_one.items()}
    peer, *others = plans
    yield Result(peer, round(micro[peer], 1), "µs")
    for name in others:
        yield Result(name, round(micro[name], 1), "µs", peer, round(micro[name] / micro[peer], 2), GROWTH)


def plan_of(boards: int) -> Plan:
    """A canary of ten, and a wave of all others."""
    steps = tuple(
        Step(f"b{number:06d}", Action.UPDATE, ("another model",), "a" * 64, "b" * 64)
        for number in range(boards)
    )
    return Plan("fleet", (WaveSteps(1, "canary", 0.0, steps[:10]), WaveSteps(2, "100 %", 0.0, steps[10:])))


def roll_out(plan: Plan) -> None:
    """Every board proves its release."""
    state, _ = start(plan, RolloutPolicy())
    for each in plan.steps:
        state, _ = step(state, Settled(BoardVerdict(each.board, Verdict.VERIFIED)))
        if state.phase is Phase.ASKING:
            state, _ = step(state, Allowed())
    assert state.outcome is Outcome.DONE, state.phase
