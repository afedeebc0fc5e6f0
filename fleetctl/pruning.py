"""What a fleet's folders keep and nobody needs any more: decided of plain facts, and taken away in an order.

All of it can be built, rendered or fetched again, so the worst of a wrong guess is time. What names others
goes before what it names: whoever is killed on the way leaves nothing that names what is gone.
"""

import contextlib
import shutil
from collections.abc import Collection, Iterable
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from fleetctl.store import naming


class Kind(StrEnum):
    """Sorts of what is kept, in the order in which they may go."""

    BUILD = "build"  # a recipe's folder: trained weights, and what was made of them
    DELTA = "delta"
    BLOB = "blob"
    IMAGE = "image layer"
    PART = "download"  # that broke off
    LEFTOVER = "leftover"  # of a write that was killed


class Thing(Struct, frozen=True):
    """A file or folder, of use while all names of one of its `groups` are held, or if it was `used` lately.

    `names` are the blobs that it would be no good without: while it is kept, so are they.
    """

    kind: Kind
    path: Path
    size: int
    used: float  # seconds since the epoch
    groups: tuple[frozenset[str], ...] = ()
    names: frozenset[str] = frozenset()

    def is_kept(self, held: Collection[str], since: float) -> bool:
        return self.used >= since or any(all(name in held for name in group) for group in self.groups)


def removable(things: Collection[Thing], roots: Collection[str], since: float) -> list[Thing]:
    """What was not used `since`, and neither `roots` nor anything that is kept leads to; in order to go."""
    held = frozenset(roots)
    held = held.union(*(thing.names for thing in things if thing.is_kept(held, since)))
    order = list(Kind)
    gone = [thing for thing in things if not thing.is_kept(held, since)]
    return sorted(gone, key=lambda thing: (order.index(thing.kind), thing.path))


def remove(things: Iterable[Thing]) -> None:
    """Take these away, one after the other; what was put again since they were looked at stays.

    Raises:
        WriteError: one cannot be taken away; those before it are gone.
    """
    for thing in things:
        with naming(thing.path), contextlib.suppress(FileNotFoundError):
            if thing.kind is Kind.BUILD:
                shutil.rmtree(thing.path)
            elif thing.path.lstat().st_mtime <= thing.used:
                thing.path.unlink()
