"""Pictures as a camera or a script sends them, decoded with numpy and zlib alone.

PNG (8 bits a channel: grey, RGB, palette, with or without alpha; not interlaced), binary PGM and PPM, `.npy`.
Input is untrusted: every size is held against a limit before memory is taken for it.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

import numpy as np

from . import npy

MAX_PIXELS = 16 << 20  # a 16 megapixel camera
MAX_SIDE = 1 << 14  # a picture of one row or column costs a step of numpy for each of its pixels

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by PNG colour type
_PALETTE = 3
_AVERAGE, _PAETH = 3, 4


class ImageError(ValueError):
    """The bytes are a damaged or too large picture."""


class UnsupportedImage(ImageError):
    """The bytes are a picture of a kind that is not read here, or none at all."""


def decode(data: bytes) -> Any:
    """A picture as uint8 (H, W) grey or (H, W, 3) RGB; alpha is dropped.

    Raises:
        UnsupportedImage: not a kind of picture that is read here.
        ImageError: damaged, or over `MAX_PIXELS` or `MAX_SIDE`.
    """
    if data.startswith(_PNG_MAGIC):
        return _decode_png(data)
    if data.startswith(npy.MAGIC):
        return _decode_npy(data)
    if data[:2] in (b"P5", b"P6"):
        return _decode_pnm(data)
    raise UnsupportedImage("not a PNG, PGM, PPM or .npy picture")


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise ImageError("the picture has no pixels")
    if width * height > MAX_PIXELS:
        raise ImageError("the picture has %d x %d pixels, more than %d" % (width, height, MAX_PIXELS))
    if max(width, height) > MAX_SIDE:
        raise ImageError("the picture has %d x %d pixels, more than %d a side" % (width, height, MAX_SIDE))


def _decode_npy(data: bytes) -> Any:
    try:
        shape, offset = npy.parse(data)
    except npy.NpyError as error:
        raise ImageError(str(error)) from None
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3)):
        raise UnsupportedImage("a .npy picture must have shape (H, W) or (H, W, 3), not %s" % (shape,))
    _check_size(shape[1], shape[0])
    pixels = np.frombuffer(data, np.uint8, offset=offset).reshape(shape)
    return pixels[:, :, 0] if shape[2:] == (1,) else pixels


_PNM_HEADER = re.compile(
    rb"P([56])(?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,5})\s"
)


def _decode_pnm(data: bytes) -> Any:
    """Netpbm's binary grey and RGB forms with one byte a sample (man 5 pgm, man 5 ppm)."""
    header = _PNM_HEADER.match(data[:1024])
    if not header:
        raise ImageError("the PGM or PPM header cannot be read")
    kind, width, height, maximum = (int(group) for group in header.groups())
    if maximum != 255:
        raise UnsupportedImage("only 8-bit PGM and PPM pictures are read")
    _check_size(width, height)
    channels = 1 if kind == 5 else 3
    raw = data[header.end() :]
    if len(raw) < width * height * channels:
        raise ImageError("the picture is cut short")
    pixels = np.frombuffer(raw, np.uint8, count=width * height * channels)
    return pixels.reshape((height, width) if channels == 1 else (height, width, channels))


class _Header(NamedTuple):
    """IHDR: PNG specification (third edition), section 11.2.1."""

    width: int
    height: int
    depth: int
    colour: int
    compression: int
    filtering: int
    interlace: int

    @property
    def channels(self) -> int:
        return _CHANNELS[self.colour]


def _decode_png(data: bytes) -> Any:
    chunks = _collect_chunks(data)
    header = _png_header(chunks.get(b"IHDR", b""))
    rows = _inflate(chunks.get(b"IDAT", b""), header.height * (1 + header.width * header.channels))
    table = np.frombuffer(rows, np.uint8).reshape(header.height, -1)
    pixels = _unfilter(table[:, 0], table[:, 1:].reshape(header.height, header.width, header.channels))
    if header.colour == _PALETTE:
        return _through_palette(pixels[:, :, 0], chunks.get(b"PLTE", b""))
    return pixels[:, :, 0] if header.channels < 3 else pixels[:, :, :3]


def _collect_chunks(data: bytes) -> Dict[bytes, bytes]:
    """Bytes by chunk type, the pieces of IDAT joined."""
    parts: Dict[bytes, List[bytes]] = {}
    for kind, content in _png_chunks(data):
        parts.setdefault(kind, []).append(content)
    return {kind: b"".join(pieces) if kind == b"IDAT" else pieces[0] for kind, pieces in parts.items()}


def _png_chunks(data: bytes) -> Iterator[Tuple[bytes, bytes]]:
    place = len(_PNG_MAGIC)
    while place + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        content, crc = data[place + 8 : place + 8 + length], data[place + 8 + length : place + 12 + length]
        if len(crc) < 4 or struct.unpack(">I", crc)[0] != zlib.crc32(kind + content):
            raise ImageError("the PNG picture is damaged or cut short")
        yield kind, content
        if kind == b"IEND":
            return
        place += 12 + length
    raise ImageError("the PNG picture is cut short")


def _png_header(content: bytes) -> _Header:
    if len(content) != 13:
        raise ImageError("the PNG picture has no header")
    header = _Header(*struct.unpack(">IIBBBBB", content))
    if header.colour not in _CHANNELS or header.depth != 8 or header.compression or header.filtering:
        raise UnsupportedImage("only PNG pictures with 8 bits a channel are read")
    if header.interlace:
        raise UnsupportedImage("interlaced PNG pictures are not read")
    _check_size(header.width, header.height)
    return header


def _inflate(packed: bytes, size: int) -> bytes:
    """Exactly `size` bytes: a bomb is not unpacked any further than that."""
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(packed, size)
    except zlib.error:
        raise ImageError("the PNG picture is damaged") from None
    if len(raw) != size:
        raise ImageError("the PNG picture is cut short")
    return raw


def _through_palette(indices: Any, palette: bytes) -> Any:
    colours = np.frombuffer(palette[: len(palette) // 3 * 3], np.uint8).reshape(-1, 3)
    if not len(colours) or int(indices.max()) >= len(colours):
        raise ImageError("the PNG picture uses colours that it does not define")
    return colours[indices]


def _unfilter(filters: Any, rows: Any) -> Any:
    """Undo the row filters (PNG specification, section 9.2) of uint8 (H, W, C)."""
    if int(filters.max()) > _PAETH:
        raise ImageError("the PNG picture uses an unknown filter")
    if int(filters.max()) >= _AVERAGE:
        return _unfilter_diagonally(filters, rows)
    plain = rows.copy()
    for y, kind in enumerate(filters):
        if kind == 1:
            plain[y] = np.cumsum(rows[y], axis=0, dtype=np.uint8)
        elif kind == 2 and y:
            plain[y] = rows[y] + plain[y - 1]
    return plain


def _unfilter_diagonally(filters: Any, rows: Any) -> Any:
    """As above, where a pixel needs its left neighbour: all pixels of an anti-diagonal at once."""
    height, width, channels = rows.shape
    padded = np.zeros((height + 1, width + 1, channels), np.int16)  # a border of zeros above and to the left
    for diagonal in range(height + width - 1):
        y = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        x = diagonal - y
        left, above, corner = padded[y + 1, x], padded[y, x + 1], padded[y, x]
        kinds = filters[y][:, np.newaxis]
        guess = np.select(
            [kinds == 1, kinds == 2, kinds == _AVERAGE, kinds == _PAETH],
            [left, above, (left + above) >> 1, _paeth(left, above, corner)],
            default=0,
        )
        padded[y + 1, x + 1] = (rows[y, x] + guess) & 0xFF
    return padded[1:, 1:].astype(np.uint8)


def _paeth(left: Any, above: Any, corner: Any) -> Any:
    estimate = left + above - corner
    by_left, by_above, by_corner = abs(estimate - left), abs(estimate - above), abs(estimate - corner)
    upper = np.where(by_above <= by_corner, above, corner)
    return np.where((by_left <= by_above) & (by_left <= by_corner), left, upper)
