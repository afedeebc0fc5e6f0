"""What travels to a board, as members of a bundle: blobs, what makes them of others, the rest of either.

    <blob>                           the blob
    <blob>/<base>/<patch>            the patch that makes it of one that the board has
    either, with /<bytes> behind it  the rest, where so many bytes came before a line broke

`device.bundle` takes them in.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from msgspec import Struct, field

from fleetctl.delta import Delta, Deltas
from fleetctl.errors import BuildError
from fleetctl.store import BlobStore
from fleetctl.transports.base import Order

Member = tuple[str, bytes]


class Lacking(Struct, frozen=True):
    """What a board does not have of a release, and of what patches are for; bytes that came, by digest."""

    blobs: Collection[str]
    bases: Collection[str] = ()
    begun: Mapping[str, int] = field(default_factory=dict)


def deltas_of(order: Order) -> dict[str, Delta]:
    """By digest of blobs that would be sent: the patch for what the board was seen to have at that place."""
    deltas = Deltas(BlobStore(order.blobs))
    found = {wanted: deltas.between(base, wanted) for base, wanted in _changes(order)}
    return {wanted: delta for wanted, delta in found.items() if delta}


def make_deltas(orders: Iterable[Order]) -> None:
    """Have the store keep what `deltas_of` looks for, once for all boards."""
    for blobs, base, wanted in {(order.blobs, *change) for order in orders for change in _changes(order)}:
        Deltas(BlobStore(blobs)).between(base, wanted)


def common_blobs(orders: Iterable[Order]) -> Iterator[Member]:
    """The blobs that more than one board will be sent as they are, by what was seen of each."""
    has_patch = cache(lambda blobs, *change: Deltas(BlobStore(blobs)).between(*change) is not None)
    lacking: Counter[tuple[Path, str]] = Counter()
    for order in orders:
        if order.holding is not None:
            patched = {wanted for base, wanted in _changes(order) if has_patch(order.blobs, base, wanted)}
            wanted = {ref.sha256 for ref in order.release.files.values()}
            absent = wanted - patched - order.holding.blobs
            lacking.update((order.blobs, digest) for digest in absent)
    for (blobs, digest), boards in lacking.items():
        with suppress(BuildError):  # whoever has to send it says what is wrong with it
            if boards > 1:
                yield digest, BlobStore(blobs).get(digest)


def _changes(order: Order) -> Iterator[tuple[str, str]]:
    """What was seen on the board, and what is to be there, of each path where that is new to it."""
    if order.holding is None:
        return
    seen = order.holding.files
    held = order.holding.blobs
    for path, ref in order.release.files.items():
        if path in seen and ref.sha256 not in held:
            yield seen[path], ref.sha256


def plain(blobs: BlobStore, digests: Collection[str]) -> list[Member]:
    """The blobs as they are.

    Raises:
        BuildError: a blob is absent here, or altered.
    """
    return [(digest, blobs.get(digest)) for digest in sorted(digests)]


def thrifty(blobs: BlobStore, lacking: Lacking, deltas: Mapping[str, Delta]) -> list[Member]:
    """The blobs in as few bytes as they can be told in; what was begun first, for a board keeps no two.

    Raises:
        BuildError: a blob is absent here, or altered.
    """
    useful = {digest: delta for digest, delta in deltas.items() if delta.base not in lacking.bases}
    members = [_member(blobs, digest, useful.get(digest), lacking.begun) for digest in sorted(lacking.blobs)]
    return [member for _, member in sorted(members, key=lambda member: not member[0])]


def is_plain(members: Iterable[Member]) -> bool:
    return not any("/" in name for name, _ in members)


def _member(
    blobs: BlobStore, digest: str, delta: Delta | None, begun: Mapping[str, int]
) -> tuple[bool, Member]:
    """A member of a bundle, and whether it is the rest of one."""
    whole = blobs.get(digest)  # also where it stays here: nothing is made of a blob that was altered
    ways = [_rest(digest, whole, begun.get(digest, 0))]
    if delta:
        ways.append(_rest(f"{digest}/{delta.base}/{delta.digest}", delta.data, begun.get(delta.digest, 0)))
    return min(ways, key=lambda way: len(way[1][1]))


def _rest(name: str, data: bytes, begun: int) -> tuple[bool, Member]:
    start = min(begun, len(data) - 1)  # of what came whole, and unnoticed, one byte is sent again
    return (True, (f"{name}/{start}", data[start:])) if start > 0 else (False, (name, data))
