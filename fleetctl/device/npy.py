"""The header of a `.npy` file, read without numpy and without trusting it.

`numpy.load` reserves memory for whatever shape a header claims; this reads the claim and holds it against the
bytes that are really there.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple, Tuple

MAGIC = b"\x93NUMPY"
_HEADER_LIMIT = 4096


class NpyError(ValueError):
    """The bytes are no `.npy` array of uint8 in C order."""


class Npy(NamedTuple):
    """A uint8 array in C order: its shape, and where in the file its bytes begin."""

    shape: Tuple[int, ...]
    offset: int


def parse(data: bytes) -> Npy:
    """Read the header of a whole file.

    Raises:
        NpyError: it is not `.npy`, not uint8, not C order, or has more or fewer bytes than its shape says.
    """
    length_format, start = ("<H", 10) if data[6:7] == b"\x01" else ("<I", 12)
    if not data.startswith(MAGIC) or len(data) < start:
        raise NpyError("not a .npy file")
    (length,) = struct.unpack(length_format, data[8:start])
    if length > _HEADER_LIMIT or start + length > len(data):
        raise NpyError("the .npy header is too long")
    shape = _shape(data[start : start + length])
    size = 1
    for side in shape:
        size *= side
    if size != len(data) - start - length:
        raise NpyError("a .npy array of shape %s cannot have %d bytes" % (shape, len(data) - start - length))
    return Npy(shape, start + length)


def encode(shape: Tuple[int, ...], raw: bytes) -> bytes:
    """A version 1.0 file of uint8 values in C order."""
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (%s), }" % "".join(
        "%d, " % side for side in shape
    )
    padding = -(10 + len(header) + 1) % 64
    text = header.encode("latin-1") + b" " * padding + b"\n"
    return MAGIC + b"\x01\x00" + struct.pack("<H", len(text)) + text + raw


def _shape(header: bytes) -> Tuple[int, ...]:
    import ast  # slow to import: only where there is an array

    try:
        said: Any = ast.literal_eval(header.decode("latin-1").strip())
        kind, fortran, shape = said["descr"], said["fortran_order"], said["shape"]
    except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError):
        raise NpyError("the .npy header cannot be read") from None
    if kind not in ("|u1", "<u1", ">u1", "u1") or fortran is not False:
        raise NpyError("a .npy array must be uint8 in C order")
    if not isinstance(shape, tuple) or not all(type(side) is int and 0 < side < 1 << 31 for side in shape):
        raise NpyError("a .npy array must have a shape of positive numbers")
    return shape
