"""Asking boards what they run: every board asked gets an `Observed`, whatever became of its reply."""

from collections.abc import Iterator, Sequence

from fleetctl.manifest.schema import Board
from fleetctl.observation import Observed, Reach
from fleetctl.transports.base import Reply, Transport


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
