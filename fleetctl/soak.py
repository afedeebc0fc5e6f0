"""What is left of a soak that an earlier rollout began and did not end. No I/O, no clock.

Boards date their proofs by their own clock and say what it is now, so how old a proof is can be told without
trusting two clocks to agree; and nothing has to be remembered here of a rollout that was killed.
"""

from collections.abc import Mapping

from fleetctl.observation import Observed
from fleetctl.plan import Action, Plan


def soak_left(plan: Plan, observed: Mapping[str, Observed]) -> dict[str, float]:
    """Seconds for which boards that have nothing to do are still to be watched; only those with any.

    Never more than their wave's `soak`, whatever a board says of time. One whose last receipt is of another
    release, or whose times cannot be read, is not in it.
    """
    left = {
        step.board: wave.soak - age
        for wave in plan.waves
        if wave.soak
        for step in wave.steps
        if step.action is Action.NOTHING
        and (age := _age_of_proof(observed[step.board], step.desired)) is not None
    }
    return {board: seconds for board, seconds in left.items() if seconds > 0}


def _age_of_proof(seen: Observed, release: str) -> float | None:
    """Seconds since the board was told to keep `release`; none at all where its clock went back since."""
    return seen.age(seen.receipt.get("time")) if seen.receipt.get("release") == release else None
