"""A rollout as a state machine: `step` decides, `run` does.

    releasing --all replied--> soaking --watched--> gate --open--> releasing (next wave) ... finished: done
                                                     |--pause--> finished: paused
                                                     `--fail--> reverting --all replied--> finished: failed

`step` has no I/O and no clock. Nothing of its state needs to survive: boards keep what they proved, so
running the rollout again goes on from wherever a killed one stopped.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from fleetctl import events, gate, smoke
from fleetctl.errors import FleetError, GatePaused, RollbackFailed, SmokeFailed, TransportError
from fleetctl.events import Emit
from fleetctl.manifest.schema import Board, RevertPolicy, RolloutPolicy
from fleetctl.observation import Observed, Reach, latency_p95_ms
from fleetctl.plan import Action, Plan, Step, WaveSteps
from fleetctl.smoke import BoardVerdict, Verdict
from fleetctl.transports.base import Order, Reply, Transport


class Phase(StrEnum):
    RELEASING = "releasing"
    SOAKING = "soaking"
    REVERTING = "reverting"
    FINISHED = "finished"


class Outcome(StrEnum):
    """How a rollout ended; the exit code follows from it and from the verdicts."""

    DONE = "done"
    PAUSED = "paused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Rollout:
    """Where a rollout stands. `verdicts` holds every board of the plan."""

    plan: Plan
    policy: RolloutPolicy
    index: int = 0  # of the wave at hand in plan.waves
    phase: Phase = Phase.RELEASING
    waiting: frozenset[str] = frozenset()
    verdicts: Mapping[str, BoardVerdict] = field(default_factory=dict)
    outcome: Outcome | None = None
    reason: str = ""

    @property
    def wave(self) -> WaveSteps:
        return self.plan.waves[self.index]

    def count(self, verdict: Verdict) -> int:
        return sum(v.verdict is verdict for v in self.verdicts.values())


# What can happen to a rollout.


@dataclass(frozen=True, slots=True)
class Settled:
    """A board that was asked to release or to revert reached a verdict."""

    verdict: BoardVerdict


@dataclass(frozen=True, slots=True)
class Soaked:
    """The soak time is over; `fallen` says which verified boards no longer hold, and why."""

    fallen: Mapping[str, str]


Happening = Settled | Soaked


# What a rollout wants done.


@dataclass(frozen=True, slots=True)
class ReleaseBoards:
    wave: WaveSteps
    boards: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SoakBoards:
    wave: WaveSteps
    boards: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class RevertBoards:
    """`to` holds the release each board ran before this rollout; None where it ran none of ours."""

    to: Mapping[str, str | None]
    reason: str


@dataclass(frozen=True, slots=True)
class Announce:
    event: events.Event


Command = ReleaseBoards | SoakBoards | RevertBoards | Announce


def start(plan: Plan, policy: RolloutPolicy) -> tuple[Rollout, list[Command]]:
    """A fresh rollout of `plan`, and what to do first."""
    verdicts = {step.board: _untouched(step) for step in plan.steps}
    return _open_wave(Rollout(plan, policy, verdicts=verdicts), 0)


def step(state: Rollout, happening: Happening) -> tuple[Rollout, list[Command]]:
    """What follows from one thing that happened."""
    match happening:
        case Settled(verdict):
            return _settle(state, verdict)
        case Soaked(fallen):
            return _end_soak(state, fallen)


def _untouched(step: Step) -> BoardVerdict:
    """What holds for a board until it is written to."""
    if step.action is Action.DEFER:
        return BoardVerdict(step.board, Verdict.DEFERRED, step.reasons)
    reason = ("its wave did not open",) if step.action.touches else ()
    return BoardVerdict(step.board, Verdict.UNTOUCHED, reason)


def _open_wave(state: Rollout, index: int) -> tuple[Rollout, list[Command]]:
    """Open the first wave from `index` on that has anything to do."""
    for number in range(index, len(state.plan.waves)):
        wave = state.plan.waves[number]
        if wave.touched:
            waiting = frozenset(wave.touched)
            opened = replace(state, index=number, phase=Phase.RELEASING, waiting=waiting)
            announced = Announce(events.WaveStarted(wave.number, wave.name, wave.touched))
            return opened, [announced, ReleaseBoards(wave, wave.touched)]
    return _finish(state, Outcome.DONE, "")


def _settle(state: Rollout, verdict: BoardVerdict) -> tuple[Rollout, list[Command]]:
    if verdict.board not in state.waiting:
        return state, []  # a second answer from the same board changes nothing
    state = replace(
        state,
        waiting=state.waiting - {verdict.board},
        verdicts={**state.verdicts, verdict.board: verdict},
    )
    commands: list[Command] = [Announce(_settled_event(state, verdict))]
    if state.waiting:
        return state, commands
    state, more = _after_revert(state) if state.phase is Phase.REVERTING else _after_release(state)
    return state, commands + more


def _settled_event(state: Rollout, verdict: BoardVerdict) -> events.BoardSettled:
    desired = next(step.desired for step in state.plan.steps if step.board == verdict.board)
    p95 = latency_p95_ms(verdict.receipt)
    return events.BoardSettled(verdict.board, verdict.verdict.value, tuple(verdict.reasons), desired, p95)


def _after_release(state: Rollout) -> tuple[Rollout, list[Command]]:
    verified = _verified(state, state.wave)
    if state.wave.soak and verified and _gate(state).decision is gate.Decision.OPEN:
        soaking = replace(state, phase=Phase.SOAKING)
        announced = Announce(events.SoakStarted(state.wave.number, state.wave.soak))
        return soaking, [announced, SoakBoards(state.wave, verified, state.wave.soak)]
    return _pass_gate(state)


def _end_soak(state: Rollout, fallen: Mapping[str, str]) -> tuple[Rollout, list[Command]]:
    if not fallen:
        return _pass_gate(state)
    return _revert(
        state, tuple(fallen), "fell over while being watched: " + "; ".join(sorted(set(fallen.values())))
    )


def _revert(state: Rollout, boards: tuple[str, ...], reason: str) -> tuple[Rollout, list[Command]]:
    reverting = replace(
        state, phase=Phase.REVERTING, waiting=frozenset(boards), reason=state.reason or reason
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
    verdicts = [
        state.verdicts[step.board].verdict for step in state.wave.steps if step.action is not Action.NOTHING
    ]
    return gate.decide(state.policy.gate, verdicts, canary=state.wave.is_canary)


def _pass_gate(state: Rollout) -> tuple[Rollout, list[Command]]:
    judged = _gate(state)
    said: list[Command] = [
        Announce(events.GateDecided(state.wave.number, judged.decision.value, judged.reason)),
    ]
    match judged.decision:
        case gate.Decision.OPEN:
            state, more = _open_wave(state, state.index + 1)
        case gate.Decision.PAUSE:
            state, more = _finish(state, Outcome.PAUSED, judged.reason)
        case gate.Decision.FAIL:
            state, more = _fail(state, judged.reason)
    return state, said + more


def _fail(state: Rollout, reason: str) -> tuple[Rollout, list[Command]]:
    state = replace(state, outcome=Outcome.FAILED, reason=reason)
    boards = _also_reverted(state)
    if not boards:
        return _finish(state, Outcome.FAILED, reason)
    return _revert(state, boards, f"wave {state.wave.number} failed its gate: {reason}")


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
    return tuple(board for board in wave.touched if state.verdicts[board].verdict is Verdict.VERIFIED)


def _revertible(state: Rollout, wave: WaveSteps) -> tuple[str, ...]:
    """Verified boards that ran something else before; one only proved again has nowhere to go back to."""
    changed = {step.board for step in wave.steps if step.action is not Action.REPROVE}
    return tuple(board for board in _verified(state, wave) if board in changed)


def _finish(state: Rollout, outcome: Outcome, reason: str) -> tuple[Rollout, list[Command]]:
    finished = replace(state, phase=Phase.FINISHED, outcome=outcome, reason=reason, waiting=frozenset())
    counts = {verdict.value: finished.count(verdict) for verdict in Verdict if finished.count(verdict)}
    return finished, [Announce(events.RolloutFinished(outcome.value, counts))]


class Clock(Protocol):
    """Time, passed in so that tests need not wait."""

    def sleep(self, seconds: float) -> None: ...


class RealClock:
    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def run(
    plan: Plan,
    policy: RolloutPolicy,
    orders: Mapping[str, Order],
    transport: Transport,
    *,
    emit: Emit,
    clock: Clock | None = None,
) -> Rollout:
    """Drive a rollout to its end.

    Args:
        orders: by board, for every board that the plan touches.
        emit: called with each event, in order; it is where the journal and the report listen.
    """
    doer = _Doer(orders, transport, policy, clock or RealClock())
    state, commands = start(plan, policy)
    queue = list(commands)
    while queue:
        command = queue.pop(0)
        if isinstance(command, Announce):
            emit(command.event)
            continue
        for happening in doer.do(command):
            state, more = step(state, happening)
            # What is announced is told at once; what is wanted waits for its turn.
            for announced in (c for c in more if isinstance(c, Announce)):
                emit(announced.event)
            queue.extend(c for c in more if not isinstance(c, Announce))
    return state


@dataclass(frozen=True, slots=True)
class _Doer:
    """Turns commands into calls of the transport, and replies into happenings."""

    orders: Mapping[str, Order]
    transport: Transport
    policy: RolloutPolicy
    clock: Clock

    def do(self, command: ReleaseBoards | SoakBoards | RevertBoards) -> Iterator[Happening]:
        match command:
            case ReleaseBoards(_, boards):
                replies = self.transport.release([self.orders[board] for board in boards])
                yield from self._settle(boards, replies)
            case SoakBoards(_, boards, seconds):
                self.clock.sleep(seconds)
                yield Soaked(self._fallen(boards))
            case RevertBoards(to, reason):
                yield from self._revert(to, reason)

    def _settle(self, boards: tuple[str, ...], replies: Iterator[Reply]) -> Iterator[Happening]:
        left = dict.fromkeys(boards)
        for reply in replies:
            if reply.board in left:
                del left[reply.board]
                yield Settled(smoke.verdict(self.orders[reply.board], reply))
        for board in left:  # a transport that forgets a board must not make it a success
            yield Settled(BoardVerdict(board, Verdict.INCONCLUSIVE, ("the transport gave no answer",), {}))

    def _fallen(self, boards: tuple[str, ...]) -> dict[str, str]:
        seen = observe(
            self.transport, [self.orders[board].board for board in boards], deadline=self.policy.deadline
        )
        wanted = {board: self.orders[board].release.digest for board in boards}
        doubts = {board: _doubt(seen[board], wanted[board]) for board in boards}
        return {board: doubt for board, doubt in doubts.items() if doubt}

    def _revert(self, to: Mapping[str, str | None], reason: str) -> Iterator[Happening]:
        targets = [self.orders[board].board for board in to]
        signed = {board: undo for board in to if (undo := self.orders[board].undo)}
        left = dict.fromkeys(to)
        replies = self.transport.revert(
            targets, to, reason=reason, deadline=self.policy.deadline, signed=signed
        )
        for reply in replies:
            if reply.board in left:
                del left[reply.board]
                yield Settled(_reverted(reply, reason))
        for board in left:
            yield Settled(BoardVerdict(board, Verdict.ROLLBACK_FAILED, ("the transport gave no answer",), {}))


def _reverted(reply: Reply, reason: str) -> BoardVerdict:
    if reply.ok and reply.data.get("state") == "reverted":
        receipt = reply.data.get("receipt")
        return BoardVerdict(
            reply.board, Verdict.ROLLED_BACK, (reason,), receipt if isinstance(receipt, dict) else {}
        )
    return BoardVerdict(
        reply.board, Verdict.ROLLBACK_FAILED, (reply.error or "the board did not go back",), {}
    )


def _doubt(seen: Observed, release: str) -> str:
    """Why a board that was verified a moment ago no longer holds; empty if it does, or cannot be asked."""
    if seen.reach is not Reach.REACHED:
        return ""  # offline after its proof: neither a failure nor a success
    if seen.service != "running":
        return f"service is {seen.service}"
    if seen.loaded is None or seen.loaded.release != release:
        return "the service has another release loaded"
    return ""


def failure(state: Rollout) -> FleetError | None:
    """The error that a finished rollout ends in, or None: a rollback is never a success."""
    stuck, back = state.count(Verdict.ROLLBACK_FAILED), state.count(Verdict.ROLLED_BACK)
    if stuck:
        return RollbackFailed(
            f"{stuck} of {len(state.verdicts)} boards could not be rolled back",
            hint="`fleetctl status` says what they run; `fleetctl logs BOARD` says why",
        )
    if back or state.outcome is Outcome.FAILED:
        return SmokeFailed(
            f"rolled back: {state.reason or f'{back} boards failed their proof'}",
            hint="the boards run what they ran before; mend the model or the config and roll out again",
        )
    if state.outcome is Outcome.PAUSED:
        return GatePaused(
            f"paused: {state.reason}",
            hint="see to those boards, then run the rollout again: it goes on from here",
        )
    if state.verdicts and state.count(Verdict.DEFERRED) == len(state.verdicts):
        return TransportError(
            "every board is offline: nothing could be done",
            hint="they take the release when the rollout is run again and they are back",
        )
    return None


def observe(transport: Transport, boards: list[Board], *, deadline: float) -> dict[str, Observed]:
    """Ask boards what they run; every board asked is in the result, whatever became of its reply."""
    seen = {found.board: found for found in observing(transport, boards, deadline=deadline)}
    return {board.name: seen[board.name] for board in boards}


def observing(transport: Transport, boards: Sequence[Board], *, deadline: float) -> Iterator[Observed]:
    """What boards run, exactly once each, in the order in which they answer."""
    left = dict.fromkeys(board.name for board in boards)
    for reply in transport.observe(boards, deadline=deadline):
        if reply.board in left:
            del left[reply.board]
            yield observed_from(reply)
    for name in left:
        yield Observed(name, Reach.FAILED, "the transport gave no answer")


def observed_from(reply: Reply) -> Observed:
    """A reply to `observe`, read defensively."""
    if reply.ok:
        return Observed.parse(reply.board, reply.data)
    reach = {"unreachable": Reach.OFFLINE, "timed_out": Reach.OFFLINE, "refused": Reach.REFUSED}.get(
        reply.status.value, Reach.FAILED
    )
    return Observed(reply.board, reach, error=reply.error, hint=reply.hint)
