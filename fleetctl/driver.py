"""Drives a rollout: does what the state machine wants, with boards, a clock, and people who may pause it."""

import time
from collections.abc import Iterator, Mapping
from typing import Protocol

from msgspec import Struct

from fleetctl import smoke
from fleetctl.events import Emit
from fleetctl.manifest.schema import Board, RolloutPolicy
from fleetctl.observation import Observed, Reach
from fleetctl.observing import observe
from fleetctl.rollout.machine import step
from fleetctl.rollout.state import (
    Allowed,
    Announce,
    AskLeave,
    Command,
    Doing,
    Happening,
    Held,
    ReleaseBoards,
    RevertBoards,
    Rollout,
    Settled,
    SoakBoards,
    Soaked,
    Stopped,
)
from fleetctl.smoke import BoardVerdict, Verdict
from fleetctl.steering import GO_ON, Wish, Word
from fleetctl.transports.base import Order, Reply, Transport
from fleetctl.untrusted import mapping

_LOOK_S = 0.5  # seconds between two looks at what people want


class Clock(Protocol):
    """Time, passed in so that tests need not wait."""

    def sleep(self, seconds: float) -> None: ...


class Steering(Protocol):
    """What people want of this rollout now."""

    def wish(self) -> Wish: ...


class Unsteered:
    """Nobody can be heard: the rollout goes on."""

    def wish(self) -> Wish:
        return GO_ON


class RealClock:
    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def drive(
    begun: tuple[Rollout, list[Command]],
    orders: Mapping[str, Order],
    transport: Transport,
    *,
    emit: Emit,
    clock: Clock | None = None,
    steering: Steering | None = None,
    boards: Mapping[str, Board] | None = None,
) -> Rollout:
    """Drive a rollout that stands somewhere to its end.

    Args:
        orders: by board, for every board that may still be written to.
        boards: by name, those that may be looked at and are not written to; there may be others.
        emit: called with each event, in order; it is where the journal and the report listen.
        steering: asked while boards are watched, and before each next wave.
    """
    state, commands = begun
    known = {**(boards or {}), **{name: order.board for name, order in orders.items()}}
    doer = _Doer(orders, known, transport, state.policy, clock or RealClock(), steering or Unsteered())
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


class _Doer(Struct, frozen=True):
    """Turns commands into calls of the transport, and replies into happenings."""

    orders: Mapping[str, Order]
    boards: Mapping[str, Board]
    transport: Transport
    policy: RolloutPolicy
    clock: Clock
    steering: Steering

    def do(self, command: Doing) -> Iterator[Happening]:
        match command:
            case ReleaseBoards(_, boards):
                replies = self.transport.release([self.orders[board] for board in boards])
                yield from self._settle(boards, replies)
            case SoakBoards(_, wanted, seconds):
                yield self._watch(wanted, seconds)
            case AskLeave(more):
                yield from self._ask_leave(more)
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

    def _watch(self, wanted: Mapping[str, str], seconds: float) -> Soaked | Stopped:
        """Wait, and see whether boards still hold; who aborts is not kept waiting."""
        while seconds > 0:
            if (wish := self.steering.wish()).word is Word.ABORT:
                return Stopped(wish.by)
            self.clock.sleep(min(seconds, _LOOK_S))
            seconds -= _LOOK_S
        return self._look_again(wanted)

    def _ask_leave(self, more: bool) -> Iterator[Happening]:
        held = False
        while more and (wish := self.steering.wish()).word is Word.PAUSE:
            if not held:
                yield Held(wish.by)
            held = True
            self.clock.sleep(_LOOK_S)
        wish = self.steering.wish()
        yield Stopped(wish.by) if wish.word is Word.ABORT else Allowed(wish.by if held else "")

    def _look_again(self, wanted: Mapping[str, str]) -> Soaked:
        boards = [self.boards[name] for name in wanted]
        seen = observe(self.transport, boards, deadline=self.policy.deadline)
        silent = {
            board: seen[board].error or "it gave no answer" for board in wanted if not _answers(seen[board])
        }
        doubts = {
            board: _doubt(seen[board], release) for board, release in wanted.items() if board not in silent
        }
        return Soaked({board: doubt for board, doubt in doubts.items() if doubt}, silent)

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
        receipt = mapping(reply.data.get("receipt"))
        return BoardVerdict(reply.board, Verdict.ROLLED_BACK, (reason,), receipt)
    return BoardVerdict(
        reply.board, Verdict.ROLLBACK_FAILED, (reply.error or "the board did not go back",), {}
    )


def _answers(seen: Observed) -> bool:
    return seen.reach is Reach.REACHED


def _doubt(seen: Observed, release: str) -> str:
    """Why a board that was verified a moment ago no longer holds; empty if it does."""
    if seen.service != "running":
        return f"service is {seen.service}"
    if seen.loaded is None or seen.loaded.release != release:
        return "the service has another release loaded"
    return ""
