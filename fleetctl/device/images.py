"""Pictures as a camera or a script sends them, decoded with numpy and zlib alone.

PNG (8 bits a channel: grey, RGB, palette, with or without alpha; not interlaced), binary PGM and PPM, `.npy`.
Input is untrusted: every size is held against a limit before memory is taken for it. A large picture is
unpacked strip by strip into the one array that it comes to lie in: a board has no memory for copies of it.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import Any, Dict, Iterator, NamedTuple, Tuple

import numpy as np

from . import npy

MAX_PIXELS = 16 << 20  # a 16 megapixel camera
MAX_SIDE = 1 << 14  # a picture of one row or column costs a step of numpy for each of its pixels
STRIP = 1 << 20  # bytes of a picture that are worked on at a time

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by PNG colour type
_PALETTE = 3
_SUB, _UP, _AVERAGE, _PAETH = 1, 2, 3, 4
_UNPACK = 1 << 16  # bytes given to zlib at a time: it copies what it has no room for yet


class ImageError(ValueError):
    """The bytes are a damaged or too large picture."""


class UnsupportedImage(ImageError):
    """The bytes are a picture of a kind that is not read here, or none at all."""


def decode(data: bytes) -> Any:
    """A picture as uint8 (H, W) grey or (H, W, 3) RGB; what is transparent lies on white.

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
    if len(data) - header.end() < width * height * channels:
        raise ImageError("the picture is cut short")
    pixels = np.frombuffer(data, np.uint8, count=width * height * channels, offset=header.end())
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


def demand_png(data: bytes) -> bool:
    """Raise what `decode` raises of a PNG that is damaged, cut short, or of a kind that is not read here.

    Returns whether all decoders see the same in it: its one header comes first, and its pixels say all, for
    there is neither a palette nor a colour that is transparent.
    """
    chunks = _collect_chunks(data)
    header = _png_header(bytes(chunks[b"IHDR"]))
    for _ in _strips_of_rows(header, chunks[b"IDAT"]):
        pass
    first, *others = (kind for kind, _ in _png_chunks(data))
    is_ordered = first == b"IHDR" and b"IHDR" not in others
    return is_ordered and header.colour != _PALETTE and b"tRNS" not in others


def _decode_png(data: bytes) -> Any:
    chunks = _collect_chunks(data)
    header = _png_header(bytes(chunks[b"IHDR"]))
    filters, bordered = _unpack(header, chunks.pop(b"IDAT"))
    _unfilter(filters, bordered)
    pixels, transparent = bordered[1:, 1:], bytes(chunks[b"tRNS"])
    if header.colour == _PALETTE:
        return _through_palette(pixels[:, :, 0], bytes(chunks[b"PLTE"]), transparent)
    if header.channels in (2, 4):
        pixels = on_white(pixels)
    elif len(transparent) == 2 * header.channels:  # 16 bits a channel, whatever the picture has
        _whiten(pixels, transparent[1::2])
    return pixels[:, :, 0] if header.channels < 3 else pixels


def _collect_chunks(data: bytes) -> Dict[bytes, bytearray]:
    """The chunks that are read here, the pieces of IDAT joined; of others the first counts."""
    found = {kind: bytearray() for kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT")}
    for kind, content in _png_chunks(data):
        if kind == b"IDAT" or (kind in found and not found[kind]):
            found[kind] += content
    return found


def _png_chunks(data: bytes) -> Iterator[Tuple[bytes, memoryview]]:
    place, view = len(_PNG_MAGIC), memoryview(data)
    while place + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        content, crc = view[place + 8 : place + 8 + length], data[place + 8 + length : place + 12 + length]
        if len(crc) < 4 or struct.unpack(">I", crc)[0] != zlib.crc32(content, zlib.crc32(kind)):
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


def _unpack(header: _Header, packed: bytearray) -> Tuple[Any, Any]:
    """The filter of each row, and the rows as uint8 (H + 1, W + 1, C): zeros lie above and left of them."""
    height, width, channels = header.height, header.width, header.channels
    filters = np.empty(height, np.uint8)
    bordered = np.zeros((height + 1, width + 1, channels), np.uint8)
    for rows, table in _strips_of_rows(header, packed):
        filters[rows] = table[:, 0]
        bordered[rows.start + 1 : rows.stop + 1, 1:] = table[:, 1:].reshape(-1, width, channels)
    return filters, bordered


def _strips_of_rows(header: _Header, packed: bytearray) -> Iterator[Tuple[slice, Any]]:
    """Which rows, and what is packed of them as uint8 (N, 1 + W * C): the filter comes before the pixels."""
    row = 1 + header.width * header.channels
    unpacked = _Unpacked(packed)
    for rows in strips(header.height, row):
        raw = unpacked.read((rows.stop - rows.start) * row)
        yield rows, np.frombuffer(raw, np.uint8).reshape(-1, row)


class _Unpacked:
    """What zlib packed. A bomb is not unpacked any further than it is read."""

    def __init__(self, packed: bytearray) -> None:
        view = memoryview(packed)
        self._pieces = iter([view[start : start + _UNPACK] for start in range(0, len(view), _UNPACK)])
        self._unpacker = zlib.decompressobj()

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes."""
        parts = []
        while size:
            part = self._some(size)
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _some(self, most: int) -> bytes:
        packed = self._unpacker.unconsumed_tail or next(self._pieces, b"")
        try:
            part = self._unpacker.decompress(packed, most)
        except zlib.error:
            raise ImageError("the PNG picture is damaged") from None
        if not part and (not packed or self._unpacker.eof):
            raise ImageError("the PNG picture is cut short")
        return part


def strips(height: int, row: int) -> Iterator[slice]:
    """Rows of `row` bytes each, in slices of about `STRIP` bytes."""
    step = max(1, STRIP // row)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def on_white(pixels: Any) -> Any:
    """The colours of uint8 (H, W, C + 1), alpha last, seen before white; they are laid there in place."""
    for rows in strips(len(pixels), 2 * pixels[0].size):
        colours, alpha = pixels[rows, :, :-1], pixels[rows, :, -1:].astype(np.uint16)
        colours[...] = (colours * alpha + 255 * (255 - alpha) + 127) // 255
    return pixels[:, :, :-1]


def _whiten(pixels: Any, key: bytes) -> None:
    """Make the one colour that is transparent white (PNG specification, section 11.3.1.1)."""
    for rows in strips(len(pixels), pixels[0].size):
        pixels[rows][(pixels[rows] == np.frombuffer(key, np.uint8)).all(axis=2)] = 255


def _through_palette(indices: Any, palette: bytes, transparent: bytes) -> Any:
    """`transparent` has the alpha of the first colours; that of others is 255."""
    count = len(palette) // 3
    table = np.full((1, count, 4), 255, np.uint8)
    table[0, :, :3] = np.frombuffer(palette[: 3 * count], np.uint8).reshape(-1, 3)
    alphas = np.frombuffer(transparent[:count], np.uint8)
    table[0, : len(alphas), 3] = alphas
    colours = on_white(table)[0] if count else table[0]
    if not len(colours) or int(indices.max()) >= len(colours):
        raise ImageError("the PNG picture uses colours that it does not define")
    pixels = np.empty((*indices.shape, 3), np.uint8)
    for rows in strips(len(indices), 8 * indices.shape[1]):  # numpy makes 8 bytes of an index
        pixels[rows] = colours[indices[rows]]
    return pixels


def _unfilter(filters: Any, bordered: Any) -> None:
    """Undo the row filters (PNG specification, section 9.2) in place."""
    if int(filters.max()) > _PAETH:
        raise ImageError("the PNG picture uses an unknown filter")
    if int(filters.max()) >= _AVERAGE:
        _unfilter_diagonally(filters, bordered)
        return
    for y in np.flatnonzero(filters):
        row = bordered[y + 1]
        if filters[y] == _SUB:
            np.cumsum(row, axis=0, dtype=np.uint8, out=row)
        else:
            row += bordered[y]


def _unfilter_diagonally(filters: Any, bordered: Any) -> None:
    """As above, where a pixel needs its left neighbour: all pixels of an anti-diagonal at once.

    Pixel by pixel in one line, those of an anti-diagonal lie a row less one apart: a plain slice of them.
    """
    height, width = len(bordered) - 1, bordered.shape[1] - 1
    line = bordered.reshape(-1, bordered.shape[2])
    for diagonal in range(height + width - 1):
        first, end = max(0, diagonal - width + 1), min(height, diagonal + 1)  # its rows
        start = (first + 1) * width + diagonal + 2
        stop = start + (end - first - 1) * width + 1
        back = (1, width + 1, width + 2)
        left, above, corner = (line[start - n : stop - n : width].astype(np.int16) for n in back)
        kinds = filters[first:end, np.newaxis]
        guess = np.select(
            [kinds == _SUB, kinds == _UP, kinds == _AVERAGE, kinds == _PAETH],
            [left, above, (left + above) >> 1, _paeth(left, above, corner)],
            default=0,
        )
        line[start:stop:width] += guess.astype(np.uint8)  # modulo 256


def _paeth(left: Any, above: Any, corner: Any) -> Any:
    estimate = left + above - corner
    by_left, by_above, by_corner = abs(estimate - left), abs(estimate - above), abs(estimate - corner)
    upper = np.where(by_above <= by_corner, above, corner)
    return np.where((by_left <= by_above) & (by_left <= by_corner), left, upper)
