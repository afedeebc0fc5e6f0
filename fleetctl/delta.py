"""What one blob has that another has not: made once for each pair, however many boards are sent it.

bsdiff finds it, and each of its three streams is compressed by whatever makes the least of it: weights that
are new are noise to all, and bytes that stay as they are nothing to most. `device.delta` has the format.
"""

import bz2
import contextlib
import lzma
import struct
import zlib
from pathlib import Path

from msgspec import Struct

from fleetctl.device.delta import HEADER, MAGIC, MOST, STEP, STREAM
from fleetctl.errors import BuildError, WriteError
from fleetctl.store import BlobStore, atomic_write, sha256

WORTH_TRYING = 4 << 10  # bytes of a blob; smaller ones deflate to next to nothing
_PAYS = 0.9  # of the deflated blob, at most
_XZ = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 0, "pb": 0, "dict_size": 1 << 20}]


class Delta(Struct, frozen=True):
    """The patch that makes a blob of `base`."""

    base: str
    data: bytes

    @property
    def digest(self) -> str:
        return sha256(self.data)


class Deltas(Struct, frozen=True):
    """Patches between blobs of a store, kept beside them: nothing is lost with one but time."""

    blobs: BlobStore

    def between(self, base: str, wanted: str) -> Delta | None:
        """The patch from one blob to another; None where none pays, or the store does not have both whole."""
        if not self._is_worth_trying(base, wanted):
            return None
        path = self.blobs.root / "deltas" / f"{wanted}.{base}"
        data = _kept(path)
        if data is None:
            try:
                data = _worthwhile(self.blobs.get(base), self.blobs.get(wanted))
            except BuildError:  # whoever needs a blob is told so; a board may have the other all the same
                return None
            with contextlib.suppress(WriteError):
                atomic_write(path, sha256(data).encode() + data)
        return Delta(base, data) if data else None

    def _is_worth_trying(self, base: str, wanted: str) -> bool:
        """Not where a blob is small, or so large that looking for what is other takes minutes."""
        try:
            sizes = [self.blobs.path(digest).stat().st_size for digest in (base, wanted)]
        except OSError:
            return False
        return WORTH_TRYING <= min(sizes) and max(sizes) <= MOST


def _kept(path: Path) -> bytes | None:
    """A patch that was kept, empty where none pays; None where there is none, or an altered one."""
    try:
        kept = path.read_bytes()
    except OSError:
        return None
    digest, data = kept[:64], kept[64:]
    return data if digest == sha256(data).encode() else None


def _worthwhile(old: bytes, new: bytes) -> bytes:
    """The patch, if it is smaller than the whole by more than a little; no bytes if it is not."""
    import bsdiff4

    whole, rough = len(zlib.compress(new, 9)), bsdiff4.diff(old, new)
    if len(rough) > whole:  # another model altogether: nothing that is tried further makes up for that
        return b""
    data = compressed(rough, len(new))
    return data if len(data) < _PAYS * whole else b""


def compressed(rough: bytes, size: int) -> bytes:
    """A patch of bsdiff that makes `size` bytes, in the format of `device.delta`."""
    steps, added, fresh = _streams(rough)
    pieces = [HEADER.pack(MAGIC, size)]
    for stream in (b"".join(STEP.pack(*step) for step in _without_idle(steps)), added, fresh):
        coder, data = _smallest(stream)
        pieces += [STREAM.pack(coder, len(data)), data]
    return b"".join(pieces)


def _streams(patch: bytes) -> tuple[bytes, bytes, bytes]:
    """The streams of a patch in the format of bsdiff 4: `BSDIFF40`, two lengths, the size, three of bzip2."""
    steps, added = struct.unpack_from("<QQ", patch, 8)
    middle, end = 32 + steps, 32 + steps + added
    return bz2.decompress(patch[32:middle]), bz2.decompress(patch[middle:end]), bz2.decompress(patch[end:])


def _without_idle(steps: bytes) -> list[list[int]]:
    """Steps as numbers; one that makes nothing is a part of the way to the next."""
    found: list[list[int]] = []
    for change, take, skip in struct.iter_unpack("<QQQ", steps):
        if found and not change and not take:
            found[-1][2] += _signed(skip)
        else:
            found.append([change, take, _signed(skip)])
    return found


def _signed(number: int) -> int:
    """A number of bsdiff: its highest bit is the sign."""
    return number if number < 1 << 63 else (1 << 63) - number


def _smallest(data: bytes) -> tuple[bytes, bytes]:
    """The letter and the bytes of what compresses it most."""
    ways = {
        b"z": zlib.compress(data, 9),
        b"b": bz2.compress(data),
        b"x": lzma.compress(data, lzma.FORMAT_XZ, check=lzma.CHECK_NONE, filters=_XZ),
    }
    return min(ways.items(), key=lambda way: len(way[1]))
