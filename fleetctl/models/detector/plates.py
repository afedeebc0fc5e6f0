"""Photos of real plates with the boxes of the signs found on them: a folder with `boxes.csv`.

Its columns plate, sign, x0, y0, x1, y1 say where signs are, in pixels of the photo as `models detect` sees
it; further columns are ignored. Plate `3` is the one photo in the folder whose name, less its suffix, is `3`
or ends with it: `egyptianTexts3.jpg`, not `wall13.png`. Not every sign is boxed.
"""

import csv
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from msgspec import Struct

from fleetctl.errors import BuildError
from fleetctl.models import gardiner
from fleetctl.models.detector import pictures
from fleetctl.models.detector.scenes import Scene
from fleetctl.models.photo_files import demand_utf8

BOXES = "boxes.csv"

_COLUMNS = ("plate", "sign", "x0", "y0", "x1", "y1")
_MAX_ROWS = 1_000_000
_MAX_SIZE = 256 * 1024 * 1024  # bytes; a line of that many would be read as one


class _Row(Struct, frozen=True):
    line: int
    plate: str
    sign: str
    box: tuple[float, float, float, float]


def read(folder: Path) -> dict[str, Scene]:
    """Every plate that `boxes.csv` names, by its name, sorted.

    Raises:
        BuildError: no such folder or list, a line that is none, a plate without a photo or with two, a photo
            that cannot be read, a box outside of it.
    """
    rows = list(_rows(folder / BOXES))
    if not rows:
        raise BuildError(f"{folder / BOXES} lists no sign", hint="each line is plate,sign,x0,y0,x1,y1")
    by_plate: dict[str, list[_Row]] = {}
    for row in rows:
        by_plate.setdefault(row.plate, []).append(row)
    return {plate: _scene(folder, plate, by_plate[plate]) for plate in sorted(by_plate)}


def photos(folder: Path) -> list[Path]:
    """Every photo of the folder, sorted; nothing is opened.

    Raises:
        BuildError: no such folder, or a photo in it with a name that is not UTF-8.
    """
    try:
        found = [path for path in folder.iterdir() if path.suffix.lower() in pictures.SUFFIXES]
    except OSError as exc:
        raise BuildError(
            f"{folder} is not a folder of plates: {exc.strerror}", hint="check `plates` of the dataset"
        ) from None
    for path in found:
        demand_utf8(folder, path)
    return sorted(found)


def _scene(folder: Path, plate: str, rows: list[_Row]) -> Scene:
    image = pictures.read_grey(_photo(folder, plate))
    height, width = image.shape
    boxes = np.clip(np.array([row.box for row in rows]), 0, np.array([width, height] * 2))
    for row, (x0, y0, x1, y1) in zip(rows, boxes, strict=True):
        if x1 - x0 < 1 or y1 - y0 < 1:
            raise BuildError(
                f"{folder / BOXES} line {row.line}: the box lies outside plate {plate} ({width}x{height})",
                hint="boxes are in pixels from the upper left, of a JPEG once it is turned as its EXIF says",
            )
    return Scene(f"plate {plate}", image, boxes.astype(np.float32), tuple(row.sign for row in rows), False)


def _photo(folder: Path, plate: str) -> Path:
    found = [path for path in photos(folder) if _is_of(path.stem, plate)]
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise BuildError(
            f"plate {plate} of {folder / BOXES} needs one photo, and there is {names}",
            hint=f"name the photo {plate}.png, or *{plate}.jpg",
        )
    return found[0]


def _is_of(stem: str, plate: str) -> bool:
    before = stem[: -len(plate)] if stem.endswith(plate) else None
    return before is not None and not (before[-1:].isdigit() and plate[0].isdigit())


def _rows(path: Path) -> Iterator[_Row]:
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise BuildError(f"{path} is not a file", hint="check `plates` of the dataset")
    try:
        if path.stat().st_size > _MAX_SIZE:
            raise BuildError(f"{path} is over {_MAX_SIZE // 2**20} MiB: too large for a list of boxes")
        with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets put a mark in front
            lines = csv.DictReader(file)
            missing = [name for name in _COLUMNS if name not in (lines.fieldnames or ())]
            if missing:
                raise BuildError(f"{path} has no column {', '.join(missing)}")
            for number, line in enumerate(lines):
                if number >= _MAX_ROWS:
                    raise BuildError(f"{path} has more than {_MAX_ROWS} lines")
                yield _row(path, lines.line_num, line)
    except OSError as exc:
        raise BuildError(
            f"{path} cannot be read: {exc.strerror}", hint="check `plates` of the dataset"
        ) from None
    except (UnicodeDecodeError, csv.Error) as exc:
        raise BuildError(f"{path} is not a CSV file: {exc}") from None


def _row(path: Path, number: int, line: dict[str, str | None]) -> _Row:
    plate, sign, *sides = ((line[name] or "").strip() for name in _COLUMNS)
    try:
        x0, y0, x1, y1 = (float(side) for side in sides)
    except ValueError:
        x0, y0, x1, y1 = math.nan, 0.0, 0.0, 0.0
    if not (plate and sign and math.isfinite(x0 + y0 + x1 + y1) and x1 > x0 and y1 > y0):
        raise BuildError(f"{path} line {number}: expected a plate, a sign, and x0 < x1, y0 < y1 in pixels")
    gardiner.demand_sign(f"{path} line {number}", sign)
    return _Row(number, plate, sign, (x0, y0, x1, y1))
