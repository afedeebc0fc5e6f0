"""What the dashboard knows: boards asked every so often, and the journal of the rollout at work."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from fleetctl.audit import Audit
from fleetctl.desired import Desired, desired_fleet
from fleetctl.errors import FleetError
from fleetctl.manifest.schema import Fleet
from fleetctl.observation import Observed
from fleetctl.project import Project
from fleetctl.status import BoardStatus
from fleetctl.steering import UnderWay, under_way
from fleetctl.store import Journal
from fleetctl.tale import Tale, newest_journal, tell
from fleetctl.transports.base import Transport

ASK_DEADLINE_S = 30.0
_DEEDS = 10  # of people that are shown, the newest
_LOOK_S = 0.5  # seconds between two looks at the journal


class Source(Struct, frozen=True):
    """A fleet and a way to ask its boards, as a verb opened them.

    `ask` holds every board against git, in the order of the manifest, just as `fleetctl status` does.
    """

    project: Project
    fleet: Fleet
    boards: tuple[str, ...]
    transport: Transport
    ask: Callable[[], Sequence[BoardStatus]]


class Snapshot(Struct, frozen=True):
    """What is known of the boards at one time. `note` says what is not: the lock is stale, say."""

    source: Source
    statuses: tuple[BoardStatus, ...] = ()
    observed: Mapping[str, Observed] = field(default_factory=dict)
    desired: Desired | None = None
    asked_at: float | None = None  # seconds since 1970; None before the first answers
    note: str = ""


def take(source: Source) -> Snapshot:
    """Ask every board, and hold the answers against git."""
    desired, note = None, ""
    try:
        desired = desired_fleet(source.project, source.fleet, source.boards)
    except FleetError as error:
        note = f"what git says is not known: {error.message}"
    statuses = tuple(source.ask())
    observed = {status.board: status.observed for status in statuses}
    return Snapshot(source, statuses, observed, desired, time.time(), note)


class Watch:
    """Keeps a snapshot fresh in threads of its own. `versions` counts what changed, for who follows."""

    def __init__(self, open_source: Callable[[], Source], every: float) -> None:
        """
        Args:
            open_source: reads git anew; its errors are shown, and what was known before holds.
            every: seconds between the end of one asking and the begin of the next.

        Raises:
            FleetError: git cannot be read now.
            OSError: nor can the folder of journals.
        """
        self._open = open_source
        self._every = every
        self._stop = threading.Event()
        self.snapshot = Snapshot(open_source())
        self._hurry = threading.Event()
        self.tale: Tale | None = None
        self.deeds: list[dict[str, Any]] = []  # what people did, newest first
        self.running: UnderWay | None = None  # the rollout at work, if there is one
        self.versions = {"fleet": 0, "rollout": 0}
        newest_journal(self._state)

    def start(self) -> None:
        for work in (self._ask_on, self._read_on):
            threading.Thread(target=work, daemon=True).start()

    def stop(self) -> None:
        self._stop.set()
        self._hurry.set()

    def hurry(self) -> None:
        """Ask boards now, not when it is their time."""
        self._hurry.set()

    def ask(self) -> None:
        """Take one snapshot now."""
        try:
            source = self._open()
            self.snapshot = take(source)
        except FleetError as error:
            self.snapshot = replace(self.snapshot, note=f"git cannot be read: {error.in_short}")
        except Exception as error:  # noqa: BLE001 - what was known would stand there for ever, and nobody be told
            self.snapshot = replace(
                self.snapshot, note=f"boards cannot be asked: {type(error).__name__}: {error}"
            )
        self.versions["fleet"] += 1

    def read_journal(self) -> None:
        """Read the newest journal, and what people did since."""
        path = newest_journal(self._state)
        self.tale = tell(Journal(path).read()) if path else None
        self.running = under_way(self._state)
        self.deeds = Audit(self._state).latest(_DEEDS)
        self.versions["rollout"] += 1

    @property
    def _state(self) -> Path:
        return self.snapshot.source.project.state

    def _ask_on(self) -> None:
        while not self._stop.is_set():
            self.ask()
            self._hurry.wait(self._every)
            self._hurry.clear()

    def _read_on(self) -> None:
        seen: object = None
        while not self._stop.is_set():
            with suppress(OSError):  # of a journal that was taken away meanwhile: it is looked at again
                path = newest_journal(self._state)
                now = (path, _size(path), _size(Audit(self._state).path), under_way(self._state))
                if now != seen:
                    self.read_journal()
                    seen = now
            self._stop.wait(_LOOK_S)


def _size(path: Path | None) -> int:
    try:
        return path.stat().st_size if path else -1
    except OSError:
        return -1
