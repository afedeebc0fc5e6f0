"""Pictures as they come: decoded exactly, or refused before they cost anything."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny_board import as_npy, picture

from fleetctl.device import images, npy
from fleetctl.device.images import ImageError, UnsupportedImage, decode
from fleetctl.device.preprocess import to_grey

Pixels = NDArray[np.uint8]


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", zlib.crc32(kind + content))


def png(header: tuple[int, ...], packed: bytes, *more: bytes) -> bytes:
    """A PNG of given IHDR fields and IDAT bytes, with further chunks between them."""
    ihdr = chunk(b"IHDR", struct.pack(">IIBBBBB", *header))
    return b"\x89PNG\r\n\x1a\n" + ihdr + b"".join(more) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def filtered(pixels: Pixels, kinds: list[int]) -> bytes:
    """Rows of (H, W, C) after the PNG filters `kinds`, computed byte by byte as the specification says."""
    height, width, channels = pixels.shape
    rows = pixels.reshape(height, -1).astype(int)
    out = bytearray()
    for y in range(height):
        out.append(kinds[y])
        for x in range(width * channels):
            left = rows[y, x - channels] if x >= channels else 0
            above = rows[y - 1, x] if y else 0
            corner = rows[y - 1, x - channels] if y and x >= channels else 0
            out.append((rows[y, x] - guess(kinds[y], left, above, corner)) % 256)
    return bytes(out)


def guess(kind: int, left: int, above: int, corner: int) -> int:
    if kind == 4:
        estimate = left + above - corner
        return min((abs(estimate - near), order, near) for order, near in enumerate((left, above, corner)))[2]
    return (0, left, above, (left + above) // 2)[kind]


@st.composite
def filtered_pictures(draw: st.DrawFn) -> tuple[Pixels, list[int], int]:
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    colour, channels = draw(st.sampled_from([(0, 1), (2, 3), (4, 2), (6, 4)]))
    raw = draw(st.binary(min_size=height * width * channels, max_size=height * width * channels))
    kinds = draw(st.lists(st.integers(0, 4), min_size=height, max_size=height))
    return np.frombuffer(raw, np.uint8).reshape(height, width, channels), kinds, colour


@given(filtered_pictures())
@settings(deadline=None)
def test_every_filter_is_undone(drawn: tuple[Pixels, list[int], int]) -> None:
    """Any mix of row filters gives back the very pixels, laid on white where they have alpha."""
    pixels, kinds, colour = drawn
    height, width, channels = pixels.shape
    data = png((width, height, 8, colour, 0, 0, 0), zlib.compress(filtered(pixels, kinds)))
    if channels in (2, 4):
        alpha = pixels[:, :, -1:].astype(int)
        seen = (pixels[:, :, :-1] * alpha + 255 * (255 - alpha)) / 255  # never half-way: 255 is odd
        pixels = np.round(seen).astype(np.uint8)
    expected = pixels[:, :, 0] if channels < 3 else pixels
    np.testing.assert_array_equal(expected, decode(data))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P"])
def test_pictures_of_another_library(mode: str) -> None:
    """What Pillow writes is read as Pillow reads it."""
    image = pytest.importorskip("PIL.Image", reason="Pillow comes with the `build` extra")
    noise = np.random.default_rng(0).integers(0, 256, (75, 50, 3), dtype=np.uint8)
    original = image.fromarray(noise).convert(mode)
    stream = io.BytesIO()
    original.save(stream, "PNG")
    wanted = original.convert("L" if mode in ("L", "LA") else "RGB")  # nothing of it is transparent
    np.testing.assert_array_equal(np.asarray(wanted), decode(stream.getvalue()))


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        (b"P5 3 2 255\n" + bytes(6), (2, 3)),
        (b"P5\n# made by hand\n3\n2 255\n" + bytes(6) + b"more", (2, 3)),
        (b"P6 3 2 255\n" + bytes(18), (2, 3, 3)),
        (as_npy(picture(0)), (16, 16)),
        (npy.encode((2, 3, 3), bytes(18)), (2, 3, 3)),
        (npy.encode((2, 3, 1), bytes(6)), (2, 3)),
    ],
)
def test_plain_formats(data: bytes, shape: tuple[int, ...]) -> None:
    """PGM, PPM and .npy, with comments and trailing bytes where their formats allow them."""
    assert (decode(data).shape, decode(data).dtype) == (shape, np.uint8)


GREY = (4, 4, 8, 0, 0, 0, 0)
ROWS = zlib.compress(bytes(4 * 5))

REFUSED = [
    (b"", UnsupportedImage, "not a PNG, PGM, PPM or .npy picture"),
    (b"\xff\xd8\xff\xe0JFIF", UnsupportedImage, "not a PNG, PGM, PPM or .npy picture"),
    (png((4, 4, 16, 0, 0, 0, 0), ROWS), UnsupportedImage, "only PNG pictures with 8 bits a channel are read"),
    (png((4, 4, 8, 5, 0, 0, 0), ROWS), UnsupportedImage, "only PNG pictures with 8 bits a channel are read"),
    (png((4, 4, 8, 0, 0, 0, 1), ROWS), UnsupportedImage, "interlaced PNG pictures are not read"),
    (png((0, 4, 8, 0, 0, 0, 0), ROWS), ImageError, "the picture has no pixels"),
    (
        png((1 << 31, 1 << 31, 8, 0, 0, 0, 0), ROWS),
        ImageError,
        "the picture has 2147483648 x 2147483648 pixels",
    ),
    (  # which would take minutes to unfilter
        png((1 << 20, 1, 8, 0, 0, 0, 0), zlib.compress(b"\x04" + bytes(1 << 20))),
        ImageError,
        "the picture has 1048576 x 1 pixels, more than 16384 a side",
    ),
    (png(GREY, ROWS)[:-20], ImageError, "the PNG picture is damaged or cut short"),
    (png(GREY, ROWS)[:40], ImageError, "the PNG picture is cut short"),
    (png(GREY, ROWS).replace(b"IDAT", b"IDAU"), ImageError, "the PNG picture is damaged or cut short"),
    (png(GREY, zlib.compress(b"few")), ImageError, "the PNG picture is cut short"),
    (png(GREY, b"not zlib"), ImageError, "the PNG picture is damaged"),
    (png(GREY, zlib.compress(b"\x05" + bytes(19))), ImageError, "the PNG picture uses an unknown filter"),
    (png((4, 4, 8, 3, 0, 0, 0), ROWS), ImageError, "the PNG picture uses colours that it does not define"),
    (b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""), ImageError, "the PNG picture has no header"),
    (b"P5 3 2 65535\n" + bytes(12), UnsupportedImage, "only 8-bit PGM and PPM pictures are read"),
    (b"P5 x y 255\n", ImageError, "the PGM or PPM header cannot be read"),
    (b"P5 99999 99999 255\n", ImageError, "the picture has 99999 x 99999 pixels"),
    (npy.encode((1 << 20, 1 << 20), b""), ImageError, "cannot have 0 bytes"),
    (npy.encode((4,), bytes(4)), UnsupportedImage, "must have shape (H, W) or (H, W, 3)"),
    (as_npy(picture(0)).replace(b"|u1", b"<f4"), ImageError, "must be uint8 in C order"),
    (as_npy(picture(0)).replace(b"False", b"True "), ImageError, "must be uint8 in C order"),
    (npy.MAGIC + b"\x01\x00\xff\xff{", ImageError, "the .npy header is too long"),
    (npy.MAGIC, ImageError, "not a .npy file"),
    (npy.MAGIC + b"\x01\x00\x0a\x00__import__", ImageError, "the .npy header cannot be read"),
]


@pytest.mark.parametrize(("data", "error", "said"), REFUSED)
def test_what_is_refused(data: bytes, error: type[ImageError], said: str) -> None:
    """Damaged, unsupported and oversized pictures each say what they are."""
    with pytest.raises(ImageError) as refused:
        decode(data)
    assert type(refused.value) is error
    assert said in str(refused.value)


def test_a_bomb_costs_nothing() -> None:
    """A small file that unpacks to a gigabyte is given up at the size that its header claims."""
    bomb = png(GREY, zlib.compress(bytes(1 << 28), 9))
    tracemalloc.start()
    try:
        decode(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * len(bomb)


@pytest.mark.parametrize("kind", range(5))
def test_a_large_picture_lies_in_memory_once(kind: int) -> None:
    """Decoded and made grey, it takes no more than its own bytes, their grey, and a few strips."""
    side, channels = 1200, 4
    row = bytes([kind]) + bytes(range(200)) * (side * channels // 200)
    data = png((side, side, 8, 6, 0, 0, 0), zlib.compress(row * side))
    tracemalloc.start()
    try:
        to_grey(decode(data))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < side * side * (channels + 1) + (5 << 20)


def test_strips_are_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture unpacked row by row, from pieces of a byte, is the same."""
    image = pytest.importorskip("PIL.Image", reason="Pillow comes with the `build` extra")
    noise = np.random.default_rng(0).integers(0, 256, (30, 20, 3), dtype=np.uint8)
    for mode in ("L", "RGB", "RGBA", "P"):
        stream = io.BytesIO()
        image.fromarray(noise).convert(mode).save(stream, "PNG")
        whole = decode(stream.getvalue())
        with monkeypatch.context() as patch:
            patch.setattr(images, "STRIP", 1)
            patch.setattr(images, "_UNPACK", 1)
            np.testing.assert_array_equal(whole, decode(stream.getvalue()))


def test_chunks_that_nobody_reads_are_not_kept() -> None:
    """Very many small ones of all kinds cost no memory."""
    many = b"".join(chunk(b"%04d" % n, b"xy") for n in range(10_000))
    data = png(GREY, ROWS, many)
    tracemalloc.start()
    try:
        decode(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(data) // 4


@given(st.binary(max_size=64), st.integers(0, 400), st.binary(max_size=8))
@settings(max_examples=400, deadline=None)
def test_no_bytes_raise_anything_else(junk: bytes, place: int, patch: bytes) -> None:
    """Random bytes, and real pictures with bytes changed, give a picture or an `ImageError`."""
    whole = [png(GREY, ROWS), as_npy(picture(1)), b"P6 3 2 255\n" + bytes(18)]
    for data in (junk, *(one[:place] + patch + one[place + len(patch) :] for one in whole)):
        try:
            assert decode(data).ndim in (2, 3)
        except ImageError as error:
            assert str(error)


def test_npy_headers_are_numpys() -> None:
    """What we write numpy reads, and the other way round."""
    pixels = picture(2)
    np.testing.assert_array_equal(pixels, np.load(io.BytesIO(as_npy(pixels))))
    stream = io.BytesIO()
    np.save(stream, pixels)
    assert npy.parse(stream.getvalue()).shape == (16, 16)
    np.testing.assert_array_equal(pixels, decode(stream.getvalue()))
