"""What people did to a fleet from here, one line each: who, when, how, what, to how many, and how it ended.

Lines are only ever added. Like everything in `.fleetctl` they are of this machine: git and the receipts of
boards say what is true of boards.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from fleetctl.errors import FleetError
from fleetctl.store import Journal

_SCHEMA = "fleetctl.audit/v1"
_NAMED = 50  # boards that a line names; all are counted


class Deed(Struct, frozen=True):
    """What somebody is about to do. `way` is how: `command` or `page`."""

    action: str
    who: str
    way: str
    boards: int
    names: tuple[str, ...] = ()

    @classmethod
    def to(cls, boards: Sequence[str], action: str, who: str, way: str) -> "Deed":
        return cls(action, who, way, len(boards), tuple(boards[:_NAMED]))


class Ending(Struct):
    """How a deed ended that raised nothing; `failed` says what went wrong all the same."""

    failed: str = ""


class Audit:
    """The lines of one fleet's `.fleetctl`."""

    def __init__(self, state: Path) -> None:
        self._journal = Journal(state / "audit.jsonl")

    @property
    def path(self) -> Path:
        """The file, whether it is there or not."""
        return self._journal.path

    @contextmanager
    def of(self, deed: Deed, *, begun: bool = False) -> Iterator[Ending]:
        """Writes how the block ended; with `begun` also that it began, for work that may be cut short.

        Raises:
            WriteError: the line cannot be written; what is not written down is not done.
        """
        if begun:
            self._write(deed, "begun")
        ending = Ending()
        try:
            yield ending
        except FleetError as error:
            self._write(deed, "failed", error.message)
            raise
        except BaseException as error:
            self._write(deed, "cut short", type(error).__name__)
            raise
        self._write(deed, "failed" if ending.failed else "done", ending.failed)

    def latest(self, count: int) -> list[dict[str, Any]]:
        """The newest lines, newest first."""
        return list(self._journal.read())[: -count - 1 : -1]

    def _write(self, deed: Deed, outcome: str, why: str = "") -> None:
        line = {"schema": _SCHEMA, "time": time.time(), **asdict(deed), "outcome": outcome, "why": why}
        self._journal.append(line)
