"""Plates and their boxes are read whole, or refused with the line that is wrong."""

import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fleetctl.device.preprocess import to_grey
from fleetctl.errors import BuildError
from fleetctl.models.detector import pictures, plates

HEADER = "image,plate,sign,x0,y0,x1,y1,score\n"


def folder(where: Path, rows: str, *photos: str) -> Path:
    """A folder of 60x40 photos with these boxes."""
    (where / "boxes.csv").write_text(rows)
    for name in photos:
        Image.fromarray(np.full((40, 60), 180, np.uint8)).save(where / name)
    return where


def test_reads_boxes_of_the_photo_that_a_plate_names(tmp_path: Path) -> None:
    """A plate's photo is the one that ends with its name; `13` does not end with plate `3`."""
    rows = HEADER + "a.png,3,G17,1,2,30,20,0.9\nb.png,13,N35,5,5,50,15,0.8\nc.png,3,UNKNOWN,30,20,62.5,41,1\n"
    found = plates.read(folder(tmp_path, rows, "wall3.png", "wall13.png"))
    assert list(found) == ["13", "3"]
    assert found["3"].signs == ("G17", "UNKNOWN")
    assert found["3"].boxes.tolist() == [[1, 2, 30, 20], [30, 20, 60, 40]]
    assert found["3"].image.shape == (40, 60)
    assert not found["3"].complete


@pytest.mark.parametrize("name", ["turned3.jpg", "turned3.png"])
def test_a_plate_is_what_detect_sees_of_its_photo(tmp_path: Path, name: str) -> None:
    """Turned by the EXIF of a JPEG and not by that of a PNG: the boxes are of that."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.full((40, 60), 180, np.uint8)).save(tmp_path / name, exif=exif)
    (tmp_path / "boxes.csv").write_text(HEADER + "a,3,G17,1,2,30,35,1\n")

    plate = plates.read(tmp_path)["3"].image

    assert ((60, 40) if name.endswith("jpg") else (40, 60)) == plate.shape
    assert (plate == to_grey(pictures.read(tmp_path / name))).all()
    assert 180 == pytest.approx(int(plate[0, 0]), abs=2)


@pytest.mark.parametrize(
    ("rows", "photos", "message"),
    [
        ("", ("3.png",), "has no column plate, sign, x0, y0, x1, y1"),
        (HEADER, ("3.png",), "lists no sign"),
        (HEADER + "a,3,G17,1,2,x,20,0.9\n", ("3.png",), "line 2: expected a plate, a sign, and x0 < x1"),
        (HEADER + "a,3,G17,9,2,3,20,0.9\n", ("3.png",), "line 2: expected a plate, a sign, and x0 < x1"),
        (HEADER + "a,3,G17,1,2,nan,20,0.9\n", ("3.png",), "line 2: expected a plate, a sign, and x0 < x1"),
        (
            HEADER + "a,3,g17,1,2,9,20,1\n",
            ("3.png",),
            "line 2 names the sign 'g17', which is no Gardiner code",
        ),
        (HEADER + "a,3\n", ("3.png",), "line 2: expected a plate, a sign, and x0 < x1"),
        (HEADER + "a,3,G17,70,2,90,20,1\n", ("3.png",), "line 2: the box lies outside plate 3 (60x40)"),
        (HEADER + "a,3,G17,1,2,9,20,1\n", ("4.png",), "plate 3 of"),
        (
            HEADER + "a,3,G17,1,2,9,20,1\n",
            ("a3.png", "b3.png"),
            "needs one photo, and there is a3.png, b3.png",
        ),
    ],
)
def test_refuses_a_list_that_is_none(
    tmp_path: Path, rows: str, photos: tuple[str, ...], message: str
) -> None:
    """Each fault of `boxes.csv` is one clear error."""
    with pytest.raises(BuildError) as refused:
        plates.read(folder(tmp_path, rows, *photos))
    assert message in refused.value.message


def test_refuses_a_photo_that_is_none(tmp_path: Path) -> None:
    """A file that only calls itself a photo is named."""
    where = folder(tmp_path, HEADER + "a,3,G17,1,2,9,20,1\n")
    (where / "3.jpg").write_bytes(b"\xff\xd8\xff\xe0 and then nothing")
    with pytest.raises(BuildError, match=r"3\.jpg is not a readable PNG or JPEG"):
        plates.read(where)


def test_refuses_bytes_that_are_no_text(tmp_path: Path) -> None:
    """A binary `boxes.csv` gives one error."""
    (tmp_path / "boxes.csv").write_bytes(b"\xff\xfe\x00plate")
    with pytest.raises(BuildError, match="is not a CSV file"):
        plates.read(tmp_path)


def deep() -> bytes:
    return png(Image.fromarray(np.full((40, 60), 180 << 8, np.uint16)))


def of_two_colours() -> bytes:
    return png(Image.new("1", (60, 40)))


def animated() -> bytes:
    first, second = Image.new("L", (60, 40)), Image.new("L", (60, 40), 9)
    return png(first, save_all=True, append_images=[second])


def huge() -> bytes:
    return png(Image.new("L", (4200, 4200)))


def png(image: Image.Image, **settings: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", **settings)
    return stream.getvalue()


@pytest.mark.parametrize("name", ["3.png", "3.jpg"])
@pytest.mark.parametrize("turned_away", [deep, of_two_colours, animated, huge])
def test_a_plate_that_no_board_reads_is_refused(
    tmp_path: Path, turned_away: Callable[[], bytes], name: str
) -> None:
    """As a photo of the reader's is, with its name and what to do, whatever it is called."""
    (tmp_path / name).write_bytes(turned_away())
    (tmp_path / "boxes.csv").write_text(HEADER + "a,3,G17,1,2,30,35,1\n")

    with pytest.raises(BuildError, match=re.escape(f"{tmp_path / name} ")) as refused:
        plates.read(tmp_path)
    assert refused.value.hint


def test_sixteen_bits_of_grey_keep_their_upper_half(tmp_path: Path) -> None:
    """To show what is on a scanner's PNG, `models detect` does not clip it to white."""
    Image.fromarray(np.full((4, 6), 0x8040, np.uint16)).save(tmp_path / "deep.png")
    assert pictures.read(tmp_path / "deep.png").tolist() == [[[0x80] * 3] * 6] * 4


def test_a_photo_on_its_side_is_turned(tmp_path: Path) -> None:
    """EXIF orientation 6: what the camera stored as its left side is the top."""
    stored = np.zeros((16, 32), np.uint8)
    stored[:, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / "side.jpg", exif=exif)
    turned = pictures.read_grey(tmp_path / "side.jpg")
    assert turned.shape == (32, 16)
    assert turned[:12].min() > 200 and turned[20:].max() < 50


def test_reads_the_real_plates(shared_data: Path) -> None:
    """The four photographed plates have as many boxes as their list has lines."""
    found = plates.read(shared_data / "plates")
    assert {plate: len(scene.boxes) for plate, scene in found.items()} == {
        "3": 373,
        "5": 391,
        "7": 379,
        "9": 338,
    }


def test_a_list_from_a_spreadsheet_is_read(tmp_path: Path) -> None:
    """Spreadsheets put a mark of the encoding in front of the first column's name."""
    found = plates.read(folder(tmp_path, "\ufeffplate,sign,x0,y0,x1,y1\n3,G17,1,2,30,20\n", "3.png"))

    assert ("G17",) == found["3"].signs


def test_a_box_larger_than_any_number_of_ours_is_cut_to_the_photo(tmp_path: Path) -> None:
    """As every box that reaches beyond it is, and without a warning."""
    found = plates.read(folder(tmp_path, HEADER + "a,3,G17,-1e39,2,1e300,20,1\n", "3.png"))

    assert [[0, 2, 60, 20]] == found["3"].boxes.tolist()


def test_neither_a_pipe_nor_a_giant_is_read(tmp_path: Path) -> None:
    """Nobody may ever write into the one, and the other's first line may be all of it."""
    os.mkfifo(tmp_path / "boxes.csv")
    with pytest.raises(BuildError, match="is not a file"):
        plates.read(tmp_path)
    (tmp_path / "boxes.csv").unlink()
    with (tmp_path / "boxes.csv").open("wb") as file:
        file.truncate(300 * 2**20)
    with pytest.raises(BuildError, match="over 256 MiB"):
        plates.read(tmp_path)
