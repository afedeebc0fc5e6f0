"""How a rollout ended, as the error that its exit code is of."""

from fleetctl.errors import Aborted, FleetError, GatePaused, RollbackFailed, SmokeFailed, TransportError
from fleetctl.rollout.state import Outcome, Rollout, is_away
from fleetctl.smoke import Verdict


def failure(state: Rollout) -> FleetError | None:
    """The error that a finished rollout ends in, or None: a rollback is never a success."""
    counts, boards = state.counts(), len(state.at_first)
    stuck, back = counts[Verdict.ROLLBACK_FAILED], counts[Verdict.ROLLED_BACK]
    if stuck:
        return RollbackFailed(
            f"{stuck} of {boards} boards could not be rolled back",
            hint="`fleetctl status` says what they run; `fleetctl logs BOARD` says why",
        )
    if state.outcome is Outcome.ABORTED:
        return Aborted(
            f"{state.reason}: {back} of {boards} boards went back",
            hint="`fleetctl status` says what they run; the manifest's `revert` says who goes back",
        )
    if back or state.outcome is Outcome.FAILED:
        return SmokeFailed(
            f"rolled back: {state.reason or f'{back} boards failed their proof'}",
            hint="the boards run what they ran before; mend the model or the config and roll out again",
        )
    if state.outcome is Outcome.PAUSED and state.fallen:
        way_back = f"`fleetctl rollback --on {','.join(state.fallen[:5])}` takes that release back"
        return GatePaused(
            f"paused: {state.reason}",
            hint=f"{way_back}; or see to those boards and run the rollout again: they prove it anew",
        )
    if state.outcome is Outcome.PAUSED:
        without = ",".join(f"!{step.board}" for step in state.wave.steps[:5])
        instead = f", or leave them out with --on '{without}'" if is_away(state.wave) else ""
        return GatePaused(
            f"paused: {state.reason}",
            hint=f"see to those boards{instead}, then run the rollout again: it goes on from here",
        )
    if boards and counts[Verdict.DEFERRED] == boards:
        return TransportError(
            "every board is offline: nothing could be done",
            hint="they take the release when the rollout is run again and they are back",
        )
    return None
