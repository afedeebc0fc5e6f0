"""Photos of walls, as cameras and accidents leave them."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fleetctl.errors import BuildError
from fleetctl.models.detector import pictures

ORIENTATION, MAKE, X_RESOLUTION = 0x0112, 0x010F, 0x011A


def corner(orientation: int, **settings: object) -> bytes:
    """A JPEG of 32x16, white at the upper left, with an orientation that says to turn it."""
    pixels = np.zeros((16, 32), np.uint8)
    pixels[:8, :8] = 255
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKE], exif[X_RESOLUTION] = orientation, "maker", 72.0
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", exif=exif, **settings)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("orientation", "shape", "white"),
    [
        (1, (16, 32), (0, 0)),
        (2, (16, 32), (0, -1)),
        (3, (16, 32), (-1, -1)),
        (4, (16, 32), (-1, 0)),
        (5, (32, 16), (0, 0)),
        (6, (32, 16), (0, -1)),
        (7, (32, 16), (-1, -1)),
        (8, (32, 16), (-1, 0)),
        (9, (16, 32), (0, 0)),
    ],
)
def test_a_photo_is_turned_the_way_its_exif_says(
    tmp_path: Path, orientation: int, shape: tuple[int, int], white: tuple[int, int]
) -> None:
    """All eight ways; a number that is none turns nothing."""
    path = tmp_path / "wall.jpg"
    path.write_bytes(corner(orientation))

    grey = pictures.read_grey(path)

    assert shape == grey.shape
    assert grey[white] > 200
    assert 64 == pytest.approx((grey > 128).sum(), abs=16)


def test_a_photo_with_another_one_behind_it_is_turned_too(tmp_path: Path) -> None:
    """Phones put a second JPEG, of more light or for a screen, behind the photo: the first is what counts."""
    path = tmp_path / "wall.jpg"
    with Image.open(io.BytesIO(corner(6))) as first:
        second = Image.new("L", first.size)
        first.save(path, "MPO", save_all=True, append_images=[second], exif=first.getexif())

    grey = pictures.read_grey(path)

    assert (32, 16) == grey.shape
    assert grey[0, -1] > 200


def test_exif_that_is_damaged_does_not_spoil_the_photo(tmp_path: Path) -> None:
    """The type of one entry is none that exists, or not what Pillow would write: the pixels are whole."""
    path = tmp_path / "wall.jpg"
    sound = corner(6)
    entry = sound.index(b"\x01\x0f\x00\x02")  # the maker, as text
    for kind in (5, 10, 12, 0, 255):
        path.write_bytes(sound[: entry + 3] + bytes([kind]) + sound[entry + 4 :])

        assert {16, 32} == set(pictures.read(path).shape[:2])


def test_a_palette_that_is_missing_is_one_clear_error(tmp_path: Path) -> None:
    """A PNG of indices into nothing, one of them transparent: Pillow takes them for black, or stumbles."""
    stream = io.BytesIO()
    Image.new("P", (4, 4)).save(stream, "PNG", transparency=0)
    whole = stream.getvalue()
    start = whole.index(b"PLTE") - 4
    path = tmp_path / "wall_G17.png"
    path.write_bytes(whole[:start] + whole[start + 12 + int.from_bytes(whole[start : start + 4], "big") :])

    with pytest.raises(BuildError, match="is not a readable PNG or JPEG: it has no palette"):
        pictures.read(path)
