"""Labelled photos in a folder: `*_CODE.png` directly in it, or `CODE/*.png` in folders named by label."""

import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fleetctl.errors import BuildError
from fleetctl.models.gardiner import UNKNOWN
from fleetctl.models.samples import Grey, Samples

if TYPE_CHECKING:
    from PIL import Image

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}")
_LAYOUTS = "photos are named *_CODE.png, or lie in folders named by their sign"


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo that is there: its path, its label, and its name relative to the dataset's folder."""

    path: Path
    label: str
    name: str


def find(folder: Path) -> list[Photo]:
    """Every photo of a folder, sorted by name; nothing is opened.

    Raises:
        BuildError: no such folder, a photo without a usable label, or no photo at all.
    """
    if not folder.is_dir():
        raise BuildError(f"{folder} is not a folder of photos", hint="check `path` of the dataset")
    photos = sorted(_photos(folder), key=lambda photo: photo.name)
    if not photos:
        raise BuildError(f"{folder} holds no photos", hint=_LAYOUTS)
    return photos


def read(folder: Path) -> Samples:
    """Decode every labelled photo of a folder; those labelled UNKNOWN are left out.

    Raises:
        BuildError: as `find`, or a photo that is no readable PNG.
    """
    photos = [photo for photo in find(folder) if photo.label != UNKNOWN]
    return Samples(
        [decode(photo.path) for photo in photos],
        [photo.label for photo in photos],
        [photo.name for photo in photos],
    )


def decode(path: Path) -> Grey:
    """A PNG as grey uint8 (H, W); transparent pixels lie on white, 16-bit greys keep their upper half.

    Raises:
        BuildError: unreadable, cut short, not a PNG whatever its name says, or far too large.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG",)) as image:
                return _grey(image)
    except (
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombWarning,
        Image.DecompressionBombError,
    ) as exc:
        raise BuildError(f"{path} is not a readable PNG: {exc}", hint="replace it, or move it away") from None


def _grey(image: "Image.Image") -> Grey:
    from PIL import Image

    if image.mode.startswith("I"):
        return np.asarray(np.asarray(image).astype(np.uint32) >> 8, np.uint8)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        coloured = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), coloured)
    return np.array(image.convert("L"))


def _photos(folder: Path) -> Iterator[Photo]:
    for entry in _visible(folder):
        if entry.is_dir():
            yield from _labelled_folder(folder, entry)
        elif entry.name.lower().endswith(".png"):
            stem, separator, label = Path(entry.name).stem.rpartition("_")
            del stem
            if not separator:
                raise BuildError(f"{entry.path} does not say its sign", hint=_LAYOUTS)
            yield Photo(Path(entry.path), _checked(label, entry.path), entry.name)


def _labelled_folder(folder: Path, directory: "os.DirEntry[str]") -> Iterator[Photo]:
    for entry in _visible(Path(directory.path)):
        if entry.is_dir():
            raise BuildError(f"{entry.path} lies too deep for a folder of photos", hint=_LAYOUTS)
        if entry.name.lower().endswith(".png"):
            label = _checked(directory.name, directory.path)
            yield Photo(Path(entry.path), label, Path(entry.path).relative_to(folder).as_posix())


def _visible(folder: Path) -> list["os.DirEntry[str]"]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".")]


def _checked(label: str, place: str) -> str:
    if not _LABEL.fullmatch(label):
        raise BuildError(
            f"{place} names the sign {label!r}, which is not a label", hint="use letters, digits, . and -"
        )
    return label
