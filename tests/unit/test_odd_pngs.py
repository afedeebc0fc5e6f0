"""PNGs that decoders do not agree about: training sees the pixels that a board sees, or refuses them."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from fleetctl.device import images
from fleetctl.device.preprocess import to_grey
from fleetctl.errors import BuildError
from fleetctl.models import photos
from fleetctl.models.detector import pictures

SIDE = 16
GREYS = np.random.default_rng(1).integers(0, 16, (SIDE, SIDE), dtype=np.uint8)
ROWS = b"".join(b"\0" + row.tobytes() for row in GREYS)
HALF = len(ROWS) // 2
DEEP = b"".join(b"\0" + row.tobytes() * 2 for row in GREYS)
PASSES = [
    (2, 2),
    (2, 2),
    (4, 2),
    (4, 4),
    (8, 4),
    (8, 8),
    (16, 8),
]  # columns and rows of an interlaced picture
INTERLACED = b"".join(bytes((1 + columns) * rows) for columns, rows in PASSES)


def chunk(kind: bytes, content: bytes, crc: int | None = None) -> bytes:
    found = zlib.crc32(kind + content) if crc is None else crc
    return struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", found)


def header(depth: int = 8, colour: int = 0, interlace: int = 0, width: int = SIDE) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, SIDE, depth, colour, 0, 0, interlace))


def packed(data: bytes) -> bytes:
    return chunk(b"IDAT", zlib.compress(data))


def alphas(*values: int) -> bytes:
    return chunk(b"tRNS", bytes(values))


GREY, INDEXED, IDAT, END = header(), header(colour=3), packed(ROWS), chunk(b"IEND", b"")
COLOURS = chunk(b"PLTE", bytes(range(0, 240, 5)))
OTHERS = chunk(b"PLTE", bytes(range(100, 148)))
ANIMATED = chunk(b"acTL", struct.pack(">II", 1, 0))
FRAME = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, SIDE, SIDE, 0, 0, 1, 1, 0, 0))

# By what is odd: the chunks, and what is said where they are refused; a board would show the first of frames.
TAKEN = {
    "pieces": (GREY, chunk(b"IDAT", b""), chunk(b"IDAT", IDAT[8:50]), chunk(b"IDAT", IDAT[50:-4]), END),
    "gamma": (GREY, chunk(b"gAMA", struct.pack(">I", 100_000)), IDAT, END),
    "bytes after the end": (GREY, IDAT, END, b"more", GREY),
    "bytes after the pixels": (GREY, chunk(b"IDAT", IDAT[8:-4] + b"more"), END),
    "no checksum of the pixels": (GREY, chunk(b"IDAT", IDAT[8:-8]), END),
    "alphas of a palette": (INDEXED, COLOURS, alphas(0, 128), IDAT, END),
    "alphas after the pixels": (INDEXED, COLOURS, IDAT, alphas(0, 128), END),
    "alphas twice": (INDEXED, COLOURS, alphas(0, 128), alphas(255, 3), IDAT, END),
    "two palettes": (INDEXED, COLOURS, OTHERS, IDAT, END),
    "a grey after the pixels": (GREY, IDAT, alphas(0, 7), END),
    "a grey of 16 bits": (GREY, alphas(1, 7), IDAT, END),
    "a grey and a byte": (GREY, alphas(0, 7, 0), IDAT, END),
    "an animation of one": (GREY, ANIMATED, FRAME, IDAT, END),
}
REFUSED = {
    "checksum of the pixels": ((GREY, chunk(b"IDAT", IDAT[8:-4], 1), END), "damaged or cut short"),
    "checksum of a text": ((GREY, chunk(b"tEXt", b"a\0b", 1), IDAT, END), "damaged"),
    "checksum of the end": ((GREY, IDAT, chunk(b"IEND", b"", 1)), "damaged or cut short"),
    "no end": ((GREY, IDAT), "cut short"),
    "interlaced": ((header(interlace=1), packed(INTERLACED), END), "interlaced"),
    "16 bits": ((header(depth=16), packed(DEEP), END), "8 bits a channel"),
    "cut in the midst": ((GREY, chunk(b"IDAT", IDAT[8:60]), END), "not a readable PNG"),
    "half of the rows": ((GREY, packed(ROWS[:HALF]), END), "cut short"),
    "two halves": ((GREY, chunk(b"IDAT", zlib.compress(ROWS[:HALF]) * 2), END), "cut short"),
    "no such colour": ((INDEXED, chunk(b"PLTE", bytes(9)), IDAT, END), "colours that it does not define"),
    "no colour": ((INDEXED, chunk(b"PLTE", b""), IDAT, END), "colours that it does not define"),
    "animated": ((GREY, ANIMATED, IDAT, END), "animated: it has 2 frames"),
    "no such filter": ((GREY, packed(b"\7" + ROWS[1:]), END), "not a readable PNG"),
    "two headers": ((GREY, header(width=SIDE - 1), IDAT, END), "not a readable PNG"),
}


def written(folder: Path, chunks: tuple[bytes, ...]) -> Path:
    path = folder / "1_G17.png"
    path.write_bytes(photos.SIGNATURE + b"".join(chunks))
    return path


@pytest.mark.parametrize("odd", TAKEN)
def test_what_is_learnt_from_is_what_a_board_sees(odd: str, tmp_path: Path) -> None:
    """Pixel by pixel, of a photo of a sign as of a plate."""
    path = written(tmp_path, TAKEN[odd])
    on_a_board = to_grey(images.decode(path.read_bytes()))

    np.testing.assert_array_equal(on_a_board, photos.decode(path))
    np.testing.assert_array_equal(on_a_board, pictures.read_grey(path))


@pytest.mark.parametrize("odd", TAKEN)
def test_signs_are_looked_for_on_what_a_board_sees(odd: str, tmp_path: Path) -> None:
    """`models detect` shows what a board would answer, in its colours."""
    path = written(tmp_path, TAKEN[odd])
    on_a_board = images.decode(path.read_bytes())
    colours = on_a_board if on_a_board.ndim == 3 else np.dstack([on_a_board] * 3)

    np.testing.assert_array_equal(colours, pictures.read(path))
    assert "" == pictures.refusal(path)


@pytest.mark.parametrize("odd", REFUSED)
def test_what_a_board_refuses_nothing_is_learnt_from(odd: str, tmp_path: Path) -> None:
    """With the file's name and the reason; Pillow reads half of these without a word."""
    chunks, why = REFUSED[odd]
    path = written(tmp_path, chunks)

    for read in (photos.decode, pictures.read_grey):
        with pytest.raises(BuildError, match=f"1_G17.png is .*{why}") as refused:
            read(path)
        assert refused.value.hint
