"""What people want of a rollout that is under way: to pause it, to let it go on, to abort it.

The rollout holds a lock for as long as it lives, and looks at a file beside it. Whoever steers writes that
file, and names the rollout that they mean: a wish that comes too late is nobody's.
"""

import getpass
import json
import time
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from msgspec import Struct

from fleetctl.errors import UsageError
from fleetctl.store import Lock, atomic_write, canonical_json, lock_holder

_LOCK = "steering.lock"
_WISH = "steering.json"
_SCHEMA = "fleetctl.wish/v1"


class Word(StrEnum):
    """What is wanted."""

    RESUME = "resume"
    PAUSE = "pause"
    ABORT = "abort"


class Wish(Struct, frozen=True):
    """A word, and who said it."""

    word: Word
    by: str = ""


GO_ON = Wish(Word.RESUME)


class UnderWay(Struct, frozen=True):
    """A rollout at work in some process; `since` is seconds since 1970."""

    purpose: str
    pid: int
    since: float
    wish: Wish = GO_ON

    @property
    def name(self) -> str:
        return f"{self.pid}-{self.since:.6f}"


class Helm:
    """The rollout's side: holds the lock while it is at work, and reads what is wished of it."""

    def __init__(self, state: Path, purpose: str) -> None:
        self._state = state
        # Whoever looks whether a rollout is under way holds the lock for an instant.
        self._lock = Lock(state / _LOCK, purpose, wait=2.0)
        self._name = ""

    def __enter__(self) -> Self:
        self._lock.acquire()
        if holder := lock_holder(self._state / _LOCK):
            self._name = _under_way(holder).name
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def wish(self) -> Wish:
        """What people want of this rollout now."""
        return _wish(self._state, self._name)


def under_way(state: Path) -> UnderWay | None:
    """The rollout that is at work from the folder whose `.fleetctl` is `state`, if there is one."""
    holder = lock_holder(state / _LOCK)
    if not holder:
        return None
    found = _under_way(holder)
    return UnderWay(found.purpose, found.pid, found.since, _wish(state, found.name))


def running(state: Path) -> UnderWay:
    """The same.

    Raises:
        UsageError: there is none.
    """
    found = under_way(state)
    if found is None:
        raise UsageError(
            "no rollout is under way in this folder",
            hint="one that its gate paused, or that was interrupted, goes on with `fleetctl rollout`",
        )
    return found


def steer(state: Path, word: Word, by: str, name: str = "") -> UnderWay:
    """Say what is wanted of the rollout that is under way; it is heard before its next wave opens.

    Args:
        name: of the rollout that is meant; empty: whichever is under way.

    Raises:
        UsageError: none is, or another than was meant, or it was aborted already.
    """
    found = running(state)
    if name and name != found.name:
        raise UsageError("that rollout is over, and another is under way", hint="look again")
    if found.wish.word is Word.ABORT:
        raise UsageError(f"the rollout was aborted already, by {found.wish.by}")
    document = {"schema": _SCHEMA, "rollout": found.name, "word": word.value, "by": by, "time": time.time()}
    atomic_write(state / _WISH, canonical_json(document))
    return UnderWay(found.purpose, found.pid, found.since, Wish(word, by))


def whoami() -> str:
    """The name of whoever runs this process, for records that people read."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"


def _under_way(holder: Mapping[str, Any]) -> UnderWay:
    pid, since = holder.get("pid"), holder.get("since")
    return UnderWay(
        str(holder.get("purpose", "a rollout"))[:200],
        pid if isinstance(pid, int) else 0,
        since if isinstance(since, float) else 0.0,
    )


def _wish(state: Path, name: str) -> Wish:
    """What was last wished of that very rollout; a file that makes no sense wishes nothing."""
    try:
        said = json.loads((state / _WISH).read_bytes())
        if said["rollout"] != name:
            return GO_ON
        return Wish(Word(said["word"]), str(said["by"])[:100])
    except (OSError, ValueError, KeyError, TypeError):
        return GO_ON
