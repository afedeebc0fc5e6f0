"""A fleet without boards: `--transport fake` tries out policies, waves and failures on simulated ones.

The words are those of real boards and the dialogue is the very same; what is simulated is only the answer.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from msgspec import Struct, ValidationError, convert, field, to_builtins

from fleetctl.device.board_error import BoardError
from fleetctl.errors import TransportError
from fleetctl.manifest.schema import Board
from fleetctl.signing.statement import Signed
from fleetctl.store import atomic_write
from fleetctl.transports.base import NOTHING_SIGNED, Order, Reply, ReplyStatus
from fleetctl.transports.dialogue import carry_out
from fleetctl.transports.fake_board import FakeBoard
from fleetctl.transports.fake_record import Record, whole
from fleetctl.transports.faults import Faults
from fleetctl.transports.orders import Goal, Work
from fleetctl.transports.wire import BoardFault

RECORD_SCHEMA = "fleetctl.fake-board/v1"
_NO_KEYS = Path("known_hosts")  # simulated boards have no host keys


class FakeTransport(Struct):
    """Simulated boards.

    Args:
        state: folder that keeps each board's record between runs; None keeps them in memory.
        faults: what is wrong with which board.
        clock: seconds since the epoch; a board reverts by it what nobody confirmed.
    """

    state: Path | None = None
    faults: Faults = field(default_factory=Faults)
    clock: Callable[[], float] = time.time
    _records: dict[str, Record] = field(default_factory=dict)
    name: str = "fake"

    def observe(self, boards: Sequence[Board], *, deadline: float) -> Iterator[Reply]:  # noqa: ARG002 - answers at once
        return self._read(boards, "observe", {})

    def probe(self, boards: Sequence[Board], *, deadline: float) -> Iterator[Reply]:  # noqa: ARG002 - answers at once
        return self._read(boards, "probe", {})

    def logs(self, boards: Sequence[Board], *, lines: int, deadline: float) -> Iterator[Reply]:  # noqa: ARG002
        return self._read(boards, "logs", {"lines": lines})

    def history(self, boards: Sequence[Board], *, last: int, deadline: float) -> Iterator[Reply]:  # noqa: ARG002
        return self._read(boards, "history", {"last": last})

    def examine(self, boards: Sequence[Board], *, deadline: float) -> Iterator[Reply]:  # noqa: ARG002
        return self._each(boards, FakeBoard.examination)

    def remedy(self, boards: Sequence[Board], *, step: str, deadline: float) -> Iterator[Reply]:  # noqa: ARG002
        return self._each(boards, lambda fake: fake.remedy(step))

    def release(self, orders: Sequence[Order]) -> Iterator[Reply]:
        return self._write([Work(o.board, Goal.RELEASED, o.deadline, _NO_KEYS, order=o) for o in orders])

    def confirm(
        self, boards: Sequence[Board], releases: Mapping[str, str], *, deadline: float
    ) -> Iterator[Reply]:
        return self._write(
            [Work(b, Goal.CONFIRMED, deadline, _NO_KEYS, release=releases[b.name]) for b in boards]
        )

    def revert(
        self,
        boards: Sequence[Board],
        to: Mapping[str, str | None],
        *,
        reason: str,
        deadline: float,
        signed: Mapping[str, Signed] = NOTHING_SIGNED,
    ) -> Iterator[Reply]:
        return self._write(
            [
                Work(
                    b,
                    Goal.REVERTED,
                    deadline,
                    _NO_KEYS,
                    release=to.get(b.name),
                    reason=reason,
                    signed=signed.get(b.name),
                )
                for b in boards
            ]
        )

    def entrust(self, board: Board, trust: Mapping[str, Any]) -> None:
        """Have a board trust keys, as `prepare` does: `{"fleet", "board", "keys": [PEM]}`."""
        record = self._recall(board.name)
        record.trust = dict(trust)
        self._keep(board.name, record)

    def _read(self, boards: Sequence[Board], verb: str, request: Mapping[str, Any]) -> Iterator[Reply]:
        for board in boards:
            yield self._talk(
                board, lambda fake: Reply(fake.board.name, ReplyStatus.OK, fake.ask(verb, request))
            )

    def _each(
        self, boards: Sequence[Board], answer: Callable[[FakeBoard], Mapping[str, Any]]
    ) -> Iterator[Reply]:
        for board in boards:
            yield self._talk(board, lambda fake: Reply(fake.board.name, ReplyStatus.OK, answer(fake)))

    def _write(self, work: Sequence[Work]) -> Iterator[Reply]:
        for share in work:
            yield self._talk(share.board, partial(_carry_out, share))

    def _talk(self, board: Board, conversation: Callable[[FakeBoard], Reply]) -> Reply:
        """One conversation with a board; what it remembers of it is kept, however it ended."""
        record = self._recall(board.name)
        before = to_builtins(record)
        fake = FakeBoard(board, record, self.faults.of(board.name), self.clock)
        try:
            fake.connect()
            return conversation(fake)
        except BoardFault as fault:
            return fault.reply(board.name)
        finally:
            if to_builtins(record) != before:
                self._keep(board.name, record)

    def _recall(self, board: str) -> Record:
        if self.state is None:
            return self._records.setdefault(board, Record())
        path = self._path(self.state, board)
        try:
            document = json.loads(path.read_bytes())
            if document["schema"] != RECORD_SCHEMA:
                raise ValueError(document["schema"])
            return whole(convert(document["record"], Record))
        except FileNotFoundError:
            return Record()
        except (ValueError, TypeError, KeyError, RecursionError, ValidationError, BoardError) as error:
            raise TransportError(
                f"{path} is not the record of a simulated board",
                hint="delete it: the board is then as good as new",
            ) from error

    def _keep(self, board: str, record: Record) -> None:
        if self.state is not None:
            document = {"schema": RECORD_SCHEMA, "record": to_builtins(record)}
            atomic_write(self._path(self.state, board), json.dumps(document))

    @staticmethod
    def _path(state: Path, board: str) -> Path:
        return state / f"{quote(board, safe='')}.json"


def _carry_out(work: Work, fake: FakeBoard) -> Reply:
    return carry_out(work, fake.ask)
