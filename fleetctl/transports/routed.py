"""Boards of one fleet that are reached in different ways: each is asked over its own."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from fleetctl.errors import TransportError
from fleetctl.manifest.schema import Board, Via
from fleetctl.signing.statement import Signed
from fleetctl.transports.base import NOTHING_SIGNED, Order, Reply, ReplyStatus, Transport


class RoutedTransport(Struct):
    """One transport for each `via`; one is done before the next begins."""

    routes: Mapping[Via, Transport]
    name: str = "manifest"

    def observe(self, boards: Sequence[Board], *, deadline: float) -> Iterator[Reply]:
        return self._each(boards, lambda way, share: way.observe(share, deadline=deadline))

    def release(self, orders: Sequence[Order]) -> Iterator[Reply]:
        for via, way in self.routes.items():
            if share := [order for order in orders if order.board.via is via]:
                yield from way.release(share)

    def confirm(
        self, boards: Sequence[Board], releases: Mapping[str, str], *, deadline: float
    ) -> Iterator[Reply]:
        return self._each(boards, lambda way, share: way.confirm(share, releases, deadline=deadline))

    def revert(
        self,
        boards: Sequence[Board],
        to: Mapping[str, str | None],
        *,
        reason: str,
        deadline: float,
        signed: Mapping[str, Signed] = NOTHING_SIGNED,
    ) -> Iterator[Reply]:
        """Where one way cannot be gone at all, that is the failure of its boards: the others go back."""
        for way, share in self._shares(boards):
            left = dict.fromkeys(board.name for board in share)
            try:
                for reply in way.revert(share, to, reason=reason, deadline=deadline, signed=signed):
                    left.pop(reply.board, None)
                    yield reply
            except TransportError as error:
                for name in left:
                    yield Reply(name, ReplyStatus.FAILED, error=error.message, hint=error.hint)

    def probe(self, boards: Sequence[Board], *, deadline: float) -> Iterator[Reply]:
        return self._each(boards, lambda way, share: way.probe(share, deadline=deadline))

    def logs(self, boards: Sequence[Board], *, lines: int, deadline: float) -> Iterator[Reply]:
        return self._each(boards, lambda way, share: way.logs(share, lines=lines, deadline=deadline))

    def history(self, boards: Sequence[Board], *, last: int, deadline: float) -> Iterator[Reply]:
        return self._each(boards, lambda way, share: way.history(share, last=last, deadline=deadline))

    def _each(
        self, boards: Sequence[Board], ask: Callable[[Transport, Sequence[Board]], Iterator[Reply]]
    ) -> Iterator[Reply]:
        for way, share in self._shares(boards):
            yield from ask(way, share)

    def _shares(self, boards: Sequence[Board]) -> Iterator[tuple[Transport, Sequence[Board]]]:
        for via, way in self.routes.items():
            if share := [board for board in boards if board.via is via]:
                yield way, share
