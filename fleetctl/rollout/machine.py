"""A rollout as a state machine: `step` decides; `fleetctl.driver` does.

    releasing --all replied--> soaking --watched--> gate --open--> asking --allowed--> releasing (next wave)
                                  |                  |               |                ... finished: done
                                  |                  |--pause--> finished: paused
                                  |                  `--fail--> reverting --all replied--> finished: failed
                                  `--aborted-------------------------+--> reverting ... finished: aborted

Asking is where people come in: whoever paused the rollout holds it there, until they resume or abort it.

`step` has no I/O and no clock. Nothing of its state needs to survive: boards keep what they proved, and when,
so running the rollout again goes on from wherever a killed one stopped. A wave that was released then and not
watched to the end of its soak begins at soaking, with what is left of it.
"""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from msgspec.structs import replace
from rpds import HashTrieMap

from fleetctl import events, gate
from fleetctl.manifest.schema import RevertPolicy, RolloutPolicy
from fleetctl.observation import latency_p95_ms
from fleetctl.plan import Action, Plan, Step, WaveSteps
from fleetctl.rollout.state import (
    Allowed,
    Announce,
    AskLeave,
    Command,
    Happening,
    Held,
    Outcome,
    Phase,
    ReleaseBoards,
    RevertBoards,
    Rollout,
    Settled,
    SoakBoards,
    Soaked,
    Stopped,
    is_away,
)
from fleetctl.smoke import BoardVerdict, Verdict

_NOBODY: Mapping[str, float] = MappingProxyType({})


def start(
    plan: Plan,
    policy: RolloutPolicy,
    *,
    is_shard: bool = False,
    soak_left: Mapping[str, float] = _NOBODY,
) -> tuple[Rollout, list[Command]]:
    """A fresh rollout of `plan`, and what to do first.

    Args:
        soak_left: by board, what `fleetctl.soak` found that an earlier rollout left to be watched.
    """
    at_first = {step.board: _untouched(step) for step in plan.steps}
    return _open_wave(Rollout(plan, policy, at_first=at_first, is_shard=is_shard, soak_left=soak_left), 0)


def at_gate(
    plan: Plan,
    policy: RolloutPolicy,
    verdicts: Mapping[str, BoardVerdict],
    doubt: str = "",
    *,
    soak_left: Mapping[str, float] = _NOBODY,
) -> tuple[Rollout, list[Command]]:
    """A rollout whose last wave was released elsewhere and waits for its gate, and what to do first."""
    last = len(plan.waves) - 1
    state = Rollout(plan, policy, last, at_first=verdicts, doubt=doubt, soak_left=soak_left)
    if not (doubt or _is_at_work(state, state.wave)):
        if is_away(state.wave):
            return _pause_without_canary(state)
        return _finish(state, Outcome.DONE, "")  # a wave with nothing to do has no gate
    return _after_release(state)


def step(state: Rollout, happening: Happening) -> tuple[Rollout, list[Command]]:
    """What follows from one thing that happened."""
    match happening:
        case Settled(verdict):
            return _settle(state, verdict)
        case Soaked(fallen, silent):
            return _end_soak(state, fallen, silent)
        case Held(by):
            return state, [Announce(events.RolloutHeld(by))]
        case Allowed(by):
            resumed: list[Command] = [Announce(events.RolloutResumed(by))] if by else []
            state, more = _open_wave(state, state.index + 1)
            return state, resumed + more
        case Stopped(by):
            aborted: list[Command] = [Announce(events.RolloutAborted(by))]
            state, more = _end_badly(state, Outcome.ABORTED, f"aborted by {by}")
            return state, aborted + more


def _untouched(step: Step) -> BoardVerdict:
    """What holds for a board until it is written to."""
    if step.action is Action.DEFER:
        return BoardVerdict(step.board, Verdict.DEFERRED, step.reasons)
    reason = ("its wave did not open",) if step.action.touches else ()
    return BoardVerdict(step.board, Verdict.UNTOUCHED, reason)


def _open_wave(state: Rollout, index: int) -> tuple[Rollout, list[Command]]:
    """Open the first wave from `index` on that has anything to do, or to be watched before others open."""
    if _next_wave(state, index) is None:
        return _finish(state, Outcome.DONE, "")
    waves = enumerate(state.plan.waves)
    number = next(number for number, wave in waves if number >= index and _is_at_work(state, wave))
    if index == 0 < number and is_away(state.plan.waves[0]):
        return _pause_without_canary(state)
    wave = state.plan.waves[number]
    if not wave.touched:
        return _after_release(replace(state, index=number))
    opened = replace(
        state, index=number, phase=Phase.RELEASING, waiting=_waiting_for(wave.steps, wave.touched)
    )
    announced = Announce(events.WaveStarted(wave.number, wave.name, wave.touched))
    return opened, [announced, ReleaseBoards(wave, wave.touched)]


def _is_at_work(state: Rollout, wave: WaveSteps) -> bool:
    return bool(wave.touched or _half_watched(state, wave))


def _half_watched(state: Rollout, wave: WaveSteps) -> tuple[str, ...]:
    """Its boards that an earlier rollout released, and did not watch to the end."""
    return tuple(step.board for step in wave.steps if step.board in state.soak_left)


def _pause_without_canary(state: Rollout) -> tuple[Rollout, list[Command]]:
    """End before a wave opens that nothing speaks for."""
    pause, reason = gate.Decision.PAUSE.value, "no board of the canary can be reached"
    state, more = _finish(replace(state, index=0), Outcome.PAUSED, reason)
    return state, [Announce(events.GateDecided(state.wave.number, pause, reason)), *more]


def _next_wave(state: Rollout, index: int) -> int | None:
    waves = enumerate(state.plan.waves)
    return next((number for number, wave in waves if number >= index and wave.touched), None)


def _settle(state: Rollout, verdict: BoardVerdict) -> tuple[Rollout, list[Command]]:
    release = state.waiting.get(verdict.board)
    if release is None:
        return state, []  # a second answer from the same board changes nothing
    state = replace(
        state,
        waiting=state.waiting.remove(verdict.board),
        settled=state.settled.insert(verdict.board, verdict),
    )
    commands: list[Command] = [Announce(_settled_event(verdict, release))]
    if state.waiting:
        return state, commands
    state, more = _after_revert(state) if state.phase is Phase.REVERTING else _after_release(state)
    return state, commands + more


def _settled_event(verdict: BoardVerdict, release: str) -> events.BoardSettled:
    p95 = latency_p95_ms(verdict.receipt)
    return events.BoardSettled(verdict.board, verdict.verdict.value, tuple(verdict.reasons), release, p95)


def _waiting_for(steps: Iterable[Step], boards: Collection[str]) -> "HashTrieMap[str, str]":
    asked = frozenset(boards)
    return HashTrieMap((step.board, step.desired) for step in steps if step.board in asked)


def _after_release(state: Rollout) -> tuple[Rollout, list[Command]]:
    if state.is_shard:
        return _finish(state, Outcome.DONE, "")
    verified = _verified(state, state.wave) if state.wave.soak else ()
    earlier = _half_watched(state, state.wave)
    if (verified or earlier) and _gate(state).decision is gate.Decision.OPEN:
        return _soak(state, verified, earlier)
    return _pass_gate(state)


def _soak(
    state: Rollout, verified: tuple[str, ...], earlier: tuple[str, ...]
) -> tuple[Rollout, list[Command]]:
    """Have boards watched that this rollout verified, and along with them those of an earlier one."""
    wave, watched = state.wave, {*verified, *earlier}
    wanted = {step.board: step.desired for step in wave.steps if step.board in watched}
    if verified:
        seconds = wave.soak
        announced = Announce(events.SoakStarted(wave.number, seconds))
    else:
        seconds = max(state.soak_left[board] for board in earlier)
        announced = Announce(events.SoakResumed(wave.number, wave.name, earlier, seconds))
    return replace(state, phase=Phase.SOAKING), [announced, SoakBoards(wave, wanted, seconds)]


def _end_soak(
    state: Rollout, fallen: Mapping[str, str], silent: Mapping[str, str]
) -> tuple[Rollout, list[Command]]:
    given = {step.board for step in state.wave.steps if step.action in (Action.INSTALL, Action.UPDATE)}
    ours = {board: why for board, why in fallen.items() if board in given}
    others = {board: why for board, why in fallen.items() if board not in given}
    state, said = _doubt(_shut_gate(state, others, silent), {**silent, **others})
    if ours:
        reason = "fell over while being watched: " + "; ".join(sorted(set(ours.values())))
        state, more = _revert(state, tuple(ours), reason)
    else:
        state, more = _pass_gate(state)
    return state, said + more


def _shut_gate(state: Rollout, fallen: Mapping[str, str], silent: Mapping[str, str]) -> Rollout:
    """Let no gate open where what an earlier rollout released does not hold.

    This one has proved it again at most, and knows nothing to go back to: a person decides.
    """
    told = {board: f"fell over while being watched: {why}" for board, why in fallen.items()}
    told |= {
        b: f"fell silent while being watched: {why}" for b, why in silent.items() if b in state.soak_left
    }
    if not told:
        return state
    board, what = next(iter(told.items()))
    more = f" (and {len(told) - 1} more boards)" if len(told) > 1 else ""
    doubt = f"{board}, released by an earlier rollout, {what}{more}"
    return replace(state, doubt=doubt, fallen=tuple(fallen))


def _doubt(state: Rollout, watched: Mapping[str, str]) -> tuple[Rollout, list[Command]]:
    """Give boards that proved the release and did not hold, or fell silent, no good verdict: it may be to
    blame."""
    doubted = {
        board: replace(
            state.verdict(board), verdict=Verdict.INCONCLUSIVE, reasons=(f"while being watched: {why}",)
        )
        for board, why in watched.items()
    }
    desired = _waiting_for(state.wave.steps, doubted)
    state = replace(state, settled=state.settled.update(doubted))
    return state, [Announce(_settled_event(said, desired[board])) for board, said in doubted.items()]


def _revert(state: Rollout, boards: tuple[str, ...], reason: str) -> tuple[Rollout, list[Command]]:
    reverting = replace(
        state,
        phase=Phase.REVERTING,
        waiting=_waiting_for(state.plan.steps, boards),
        reason=state.reason or reason,
    )
    before = {step.board: step.current for step in state.plan.steps}
    to = {board: before[board] for board in boards}
    return reverting, [Announce(events.RevertStarted(boards, reason)), RevertBoards(to, reason)]


def _after_revert(state: Rollout) -> tuple[Rollout, list[Command]]:
    # After a soak the gate has not spoken yet; after a failed gate it speaks again, of the same wave.
    if state.outcome is None:
        return _pass_gate(state)
    return _finish(state, state.outcome, state.reason)


def _gate(state: Rollout) -> gate.Judged:
    steps = [step for step in state.wave.steps if step.action is not Action.NOTHING]
    if _half_watched(state, state.wave) and all(step.action is Action.DEFER for step in steps):
        judged = gate.Judged(gate.Decision.OPEN, "it holds what an earlier rollout released")
    else:
        verdicts = [state.verdict(step.board).verdict for step in steps]
        judged = gate.decide(state.policy.gate, verdicts, canary=state.wave.is_canary)
    if state.doubt and judged.decision is gate.Decision.OPEN:
        return gate.Judged(gate.Decision.PAUSE, state.doubt)
    return judged


def _pass_gate(state: Rollout) -> tuple[Rollout, list[Command]]:
    judged = _gate(state)
    said: list[Command] = [
        Announce(events.GateDecided(state.wave.number, judged.decision.value, judged.reason)),
    ]
    match judged.decision:
        case gate.Decision.OPEN:
            state = replace(state, phase=Phase.ASKING)
            more: list[Command] = [AskLeave(_next_wave(state, state.index + 1) is not None)]
        case gate.Decision.PAUSE:
            state, more = _finish(state, Outcome.PAUSED, judged.reason)
        case gate.Decision.FAIL:
            because = f"wave {state.wave.number} failed its gate: {judged.reason}"
            state, more = _end_badly(state, Outcome.FAILED, judged.reason, because)
    return state, said + more


def _end_badly(
    state: Rollout, outcome: Outcome, reason: str, because: str = ""
) -> tuple[Rollout, list[Command]]:
    """End; boards that proved the release go back first, as far as the manifest's `revert` says.

    `because` is what those boards are told.
    """
    state = replace(state, outcome=outcome, reason=reason)
    boards = _also_reverted(state)
    return _revert(state, boards, because or reason) if boards else _finish(state, outcome, reason)


def _also_reverted(state: Rollout) -> tuple[str, ...]:
    """Boards that proved the release and still go back, by the manifest's `revert`."""
    match state.policy.revert:
        case RevertPolicy.FAILED:
            return ()
        case RevertPolicy.WAVE:
            return _revertible(state, state.wave)
        case RevertPolicy.ALL:
            return tuple(board for wave in state.plan.waves for board in _revertible(state, wave))


def _verified(state: Rollout, wave: WaveSteps) -> tuple[str, ...]:
    return tuple(board for board in wave.touched if state.verdict(board).verdict is Verdict.VERIFIED)


def _revertible(state: Rollout, wave: WaveSteps) -> tuple[str, ...]:
    """Verified boards that ran something else of ours before: others have nowhere to go back to."""
    changed = {step.board for step in wave.steps if step.current and step.action is not Action.REPROVE}
    return tuple(board for board in _verified(state, wave) if board in changed)


def _finish(state: Rollout, outcome: Outcome, reason: str) -> tuple[Rollout, list[Command]]:
    finished = replace(state, phase=Phase.FINISHED, outcome=outcome, reason=reason, waiting=HashTrieMap())
    counts = finished.counts()
    told = {verdict.value: counts[verdict] for verdict in Verdict if verdict in counts}
    return finished, [Announce(events.RolloutFinished(outcome.value, told))]
