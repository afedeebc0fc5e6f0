"""Grey pictures as PNG, with the standard library alone."""

import struct
import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def grey_png(width: int, height: int, pixels: bytes) -> bytes:
    """The bytes of a PNG file of `height` rows of `width` grey pixels each.

    Raises:
        ValueError: there are more or fewer pixels than that.
    """
    if len(pixels) != width * height or not pixels:
        raise ValueError(f"{len(pixels)} pixels are no picture of {width} x {height}")
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + pixels[start : start + width] for start in range(0, len(pixels), width))
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
