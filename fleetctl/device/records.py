"""What the board remembers: what is under way, the latest receipt, and every receipt."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any, Callable, Dict, List, Optional, TypeVar

from .call import Checkpoint
from .durable import atomic_write, is_full, remove, shorten
from .files import Json, read_json, tail_lines, to_json
from .layout import Board
from .pending import is_whole, of_damaged_record

HISTORY_LIMIT = 1 << 20

Done = TypeVar("Done")


class Records:
    """`receipt.json` and `history.jsonl`. A full disk must not keep a board from going back, so a file of
    ballast is given up when there is no room left for a record."""

    BALLAST_BYTES = 256 << 10

    def __init__(self, board: Board) -> None:
        self._board = board
        self._ballast = board.in_state("ballast")

    def prepare(self) -> None:
        if not os.path.exists(self._ballast):
            atomic_write(self._ballast, os.urandom(self.BALLAST_BYTES), 0o600)

    def with_room(self, write: Callable[[], Done]) -> Done:
        """Write what must not fail for want of room: the ballast is given up for it."""
        try:
            return write()
        except OSError as error:
            if not is_full(error) or not os.path.exists(self._ballast):
                raise
            remove(self._ballast)
            return write()

    def write(self, name: str, value: Json) -> None:
        path, data = self._board.in_state(name), to_json(value)
        self.with_room(lambda: atomic_write(path, data))

    @property
    def pending(self) -> Dict[str, Any]:
        path = self._board.in_state("pending.json")
        for _ in range(2):  # again: it may just have been written
            said = read_json(path)
            if is_whole(said):
                return said
            if not os.path.exists(path):
                return {}
        return of_damaged_record(self._board)

    @property
    def receipt(self) -> Optional[Dict[str, Any]]:
        return read_json(self._board.in_state("receipt.json")) or None

    def keep(self, receipt: Json, checkpoint: Checkpoint) -> None:
        """Keep the latest receipt, in the history first: cut short in between, it is noted there twice, but
        the history never lacks what the board counts as done."""
        self.with_room(lambda: self._append(to_json(receipt)))
        checkpoint("%s-in-history" % receipt["state"])
        self.write("receipt.json", receipt)

    def _append(self, line: bytes) -> None:
        path = self._board.in_state("history.jsonl")
        with contextlib.suppress(OSError):  # no room for half of it: it may be longer for a while
            shorten(path, HISTORY_LIMIT)
        with open(path, "ab+") as stream:
            whole = stream.tell() == 0 or os.pread(stream.fileno(), 1, stream.tell() - 1) == b"\n"
            stream.write((b"" if whole else b"\n") + line)
            stream.flush()
            os.fsync(stream.fileno())

    def history(self, last: int) -> List[Dict[str, Any]]:
        """The last receipts, oldest first; a line that a crash cut short is left out."""
        found = []
        for line in tail_lines(self._board.in_state("history.jsonl")):
            with contextlib.suppress(ValueError):
                record = json.loads(line.decode("utf-8"))
                if isinstance(record, dict):
                    found.append(record)
        return found[-last:] if last > 0 else []

    def commit_of(self, digest: str) -> Optional[str]:
        """The git commit that a release was last brought from."""
        commits = [r.get("commit") for r in self.history(1 << 30) if r.get("release") == digest]
        return commits[-1] if commits else None
