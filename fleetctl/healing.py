"""Which rollout brings boards that differ back to what git says, and what a person has to do first. Pure."""

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from fleetctl.drift import BoardDrift, drifting
from fleetctl.origins import ADOPT
from fleetctl.plan import Action, Plan, Step

_NAMED = 5  # boards that a command names, where it can be said otherwise


class Healing(Struct, frozen=True):
    """The command lines that mend what a rollout mends; and the boards that none mends as they are.

    `adopting` overwrites releases that git does not know: whoever gives it is to see that it does.
    """

    plain: tuple[str, ...] = ()
    adopting: tuple[str, ...] = ()
    left: tuple[Step, ...] = ()


def healing(found: Sequence[BoardDrift], plan: Plan, asked: str = "") -> Healing:
    """What would put right the boards that differ.

    Args:
        plan: what a rollout without any more words would do with each board that was asked.
        asked: the selection of those boards, as it was given.
    """
    steps = {step.board: step for step in plan.steps}
    differing = [steps[board] for board in drifting(found)]
    plain = [step.board for step in differing if step.action.touches]
    adopting = [step.board for step in differing if step.fixes == (ADOPT,)]
    return Healing(
        _rollout(plain, steps, asked),
        _rollout(adopting, steps, asked, "--adopt"),
        tuple(step for step in differing if step.board not in {*plain, *adopting}),
    )


def _rollout(boards: Collection[str], steps: Mapping[str, Step], asked: str, *more: str) -> tuple[str, ...]:
    if not boards:
        return ()
    on = _selecting(boards, steps, asked)
    return ("fleetctl", "rollout", *(("--on", on) if on else ()), *more)


def _selecting(boards: Collection[str], steps: Mapping[str, Step], asked: str) -> str:
    """Selects these boards; others of those that were asked too, where a rollout would leave them alone."""
    aside = [name for name, step in steps.items() if name not in boards and not _is_left_alone(step)]
    is_short = len(boards) <= _NAMED or len(aside) > _NAMED
    if is_short and len(boards) < len(steps):
        return ",".join(boards)
    return ",".join([*filter(None, [asked.strip()]), *(f"!{name}" for name in aside)])


def _is_left_alone(step: Step) -> bool:
    return step.action in (Action.NOTHING, Action.DEFER)
