"""A blob made of another one that is here, and of what is other in it.

    "fdelta1\\n", the size of the blob, and three streams, each behind its length and how it is compressed:
    steps of three numbers, what is added to bytes of the old blob, and bytes that it does not have

The steps are those of bsdiff 4: add so many bytes to old ones, take so many new ones, go on in the old blob.
Memory is bounded by the old blob, the patch twice, the new blob twice, and 16 MiB, whatever a patch says: it
is believed only as far as the size goes that was asked for.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, Iterator, List, Tuple

from .board_error import BoardError

MAGIC = b"fdelta1\n"
HEADER = struct.Struct("<8sQ")  # magic, size of the new blob
STREAM = struct.Struct("<cQ")  # how it is compressed, and its length
STEP = struct.Struct("<QQq")  # bytes to add to old ones, new bytes, and how far on in the old blob
MOST = 16 << 20  # bytes of the old blob, and of the new one
MEMORY = 4 << 20  # bytes that a stream of LZMA may ask for
_CHUNK = 64 << 10
_EVEN = int.from_bytes(b"\xff\x00" * (_CHUNK // 2), "little")
_ODD = _EVEN << 8


def patched(old: bytes, patch: bytes, size: int) -> bytes:
    """The `size` bytes that `patch` makes of `old`; a digest has to tell whether they are the right ones.

    Raises:
        BoardError: `bad-bundle`: it is no patch, or does not make so many bytes of these.
            `unknown-base`: the Python of this board cannot read it.
    """
    try:
        steps, added, fresh = _streams(patch, size)
        return b"".join(_pieces(old, steps, added, fresh, size))
    except ImportError as error:
        raise BoardError("unknown-base", "this board's Python was made without %s" % error.name) from None
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise _no_patch(str(error)) from None
    except Exception as error:
        if type(error).__name__ == "LZMAError":  # imported where it may be raised, and nowhere else
            raise _no_patch(str(error)) from None
        raise


def size_made(patch: bytes) -> int:
    """How many bytes a patch says that it makes; raises `struct.error` where it is too short to be one."""
    return int(HEADER.unpack_from(patch)[1])


class Stream:
    """A compressed stream, read piece by piece."""

    def __init__(self, coder: bytes, data: bytes) -> None:
        self._coder = _decompressor(coder)
        self._fresh = data

    def read(self, size: int) -> bytes:
        """The next `size` bytes.

        Raises:
            EOFError: there are fewer.
        """
        pieces: List[bytes] = []
        while size:
            if self._coder.eof:
                raise EOFError("it ends too soon")
            piece = self._coder.decompress(self._fresh, size)
            self._fresh = getattr(self._coder, "unconsumed_tail", b"")  # of zlib: others keep it
            if not piece and not self._fresh and getattr(self._coder, "needs_input", True):
                raise EOFError("it ends too soon")
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)


def _decompressor(coder: bytes) -> Any:
    if coder == b"z":
        return zlib.decompressobj()
    if coder == b"b":
        import bz2

        return bz2.BZ2Decompressor()
    if coder == b"x":
        import lzma

        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY)
    raise ValueError("it is compressed in an unknown way")


def _streams(patch: bytes, size: int) -> Tuple[Stream, Stream, Stream]:
    if not patch.startswith(MAGIC) or size_made(patch) != size:
        raise _no_patch("it makes something else")
    at, streams = HEADER.size, []
    for _ in range(3):
        coder, length = STREAM.unpack_from(patch, at)
        at += STREAM.size
        if length > len(patch) - at:
            raise EOFError("it was cut short")
        streams.append(Stream(coder, patch[at : at + length]))
        at += length
    steps, added, fresh = streams
    return steps, added, fresh


def _pieces(old: bytes, steps: Stream, added: Stream, fresh: Stream, size: int) -> Iterator[bytes]:
    made, position, is_first = 0, 0, True
    while made < size:
        change, take, skip = STEP.unpack(steps.read(STEP.size))
        if made + change + take > size:
            raise _no_patch("it makes more than it says")
        if not change and not take and not is_first:  # which may only say where to begin
            raise _no_patch("it makes no progress")
        is_first = False
        if change and not 0 <= position <= len(old) - change:
            raise _no_patch("it asks for bytes that the old one does not have")
        for begin, length in _chunks(change):
            yield _sum(old[position + begin : position + begin + length], added.read(length))
        for _, length in _chunks(take):
            yield fresh.read(length)
        made += change + take
        position += change + skip


def _chunks(size: int) -> Iterator[Tuple[int, int]]:
    return ((begin, min(_CHUNK, size - begin)) for begin in range(0, size, _CHUNK))


def _sum(old: bytes, added: bytes) -> bytes:
    """Byte by byte modulo 256: as numbers, even bytes and odd ones apart: none carries into another."""
    if not added.strip(b"\0"):
        return old
    a, b = int.from_bytes(old, "little"), int.from_bytes(added, "little")
    even, odd = ((a & _EVEN) + (b & _EVEN)) & _EVEN, ((a & _ODD) + (b & _ODD)) & _ODD
    return (even | odd).to_bytes(len(old), "little")


def _no_patch(why: str) -> BoardError:
    return BoardError("bad-bundle", "what changes a blob into another is damaged: %s" % why)
