"""Labelled photos in a folder: `*_CODE.png` directly in it, or `CODE/*.png` in folders named by label."""

import os
import re
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fleetctl.errors import BuildError
from fleetctl.models import gardiner
from fleetctl.models.gardiner import UNKNOWN
from fleetctl.models.progress import Progress, silent
from fleetctl.models.samples import Grey, Samples

if TYPE_CHECKING:
    from PIL import Image

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}")
_LAYOUTS = "photos are named *_CODE.png, or lie in folders named by their sign"
_OTHER_KINDS = (".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp")
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_REPLACE = "replace it, or move it away"


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
    try:
        photos = sorted(_photos(folder), key=lambda photo: photo.name)
    except OSError as error:
        raise BuildError(f"{error.filename or folder} cannot be read: {error.strerror}") from None
    if not photos:
        raise BuildError(f"{folder} holds no photos", hint=_LAYOUTS)
    return photos


def read(folder: Path, *, progress: Progress = silent) -> Samples:
    """Decode every labelled photo of a folder; those labelled UNKNOWN are left out.

    `progress` hears stage `read photos`.

    Raises:
        BuildError: as `find`, or a photo that is no readable PNG.
    """
    photos = [photo for photo in find(folder) if photo.label != UNKNOWN]
    images = []
    for done, photo in enumerate(photos, start=1):
        images.append(decode(photo.path))
        progress("read photos", done, len(photos))
    return Samples(images, [photo.label for photo in photos], [photo.name for photo in photos])


def decode(path: Path) -> Grey:
    """A PNG as grey uint8 (H, W); transparent pixels lie on white, 16-bit greys keep their upper half.

    Raises:
        BuildError: unreadable, cut short, not a PNG whatever its name says, animated, or far too large.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG",)) as image:
                frames = getattr(image, "n_frames", 1)
                if frames == 1:
                    return _grey(image)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        most = f"{(Image.MAX_IMAGE_PIXELS or 0) / 1e6:.0f} million"
        raise BuildError(f"{path} has more than {most} pixels", hint=_REPLACE) from None
    except (OSError, SyntaxError, ValueError, zlib.error) as exc:
        raise BuildError(f"{path} is not a readable PNG: {_reason(path, exc)}", hint=_REPLACE) from None
    raise BuildError(f"{path} is animated: it has {frames} frames", hint="keep the one that shows the sign")


def _reason(path: Path, error: Exception) -> str:
    """Why a file could not be decoded, in fewer words than Pillow's, which repeat the path."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    with path.open("rb") as stream:
        start = stream.read(len(_SIGNATURE))
    if not start:
        return "it is empty"
    if start != _SIGNATURE:
        return "it is a file of another kind"
    if "cannot identify" in str(error):
        return "its header is damaged"
    return str(error)


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
        _, separator, label = Path(entry.name).stem.rpartition("_")
        if entry.is_dir():
            yield from _labelled_folder(folder, entry)
        elif _is_png(entry):
            if not separator:
                raise BuildError(f"{entry.path} does not say its sign", hint=_LAYOUTS)
            yield Photo(_file(entry), _checked(label, entry.path), entry.name)
        elif separator and gardiner.is_code(label):
            _demand_no_photo(entry)


def _labelled_folder(folder: Path, directory: "os.DirEntry[str]") -> Iterator[Photo]:
    for entry in _visible(Path(directory.path)):
        if entry.is_dir():
            raise BuildError(f"{entry.path} lies too deep for a folder of photos", hint=_LAYOUTS)
        if _is_png(entry):
            label = _checked(directory.name, directory.path)
            yield Photo(_file(entry), label, Path(entry.path).relative_to(folder).as_posix())
        else:
            _demand_no_photo(entry)


def _visible(folder: Path) -> list["os.DirEntry[str]"]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".")]


def _is_png(entry: "os.DirEntry[str]") -> bool:
    return entry.name.lower().endswith(".png")


def _file(entry: "os.DirEntry[str]") -> Path:
    """Where an entry lies, if it is a file: a pipe would be waited for, a dead link is a photo lost."""
    if not entry.is_file():
        raise BuildError(f"{entry.path} is not a file", hint=_REPLACE)
    return Path(entry.path)


def _demand_no_photo(entry: "os.DirEntry[str]") -> None:
    """Notes and tables may lie beside photos; a photo of a kind that is not read must not go unnoticed."""
    if entry.name.lower().endswith(_OTHER_KINDS):
        raise BuildError(f"{entry.path} is a photo that is no PNG", hint="convert it to PNG, or move it away")


def _checked(label: str, place: str) -> str:
    if not _LABEL.fullmatch(label):
        raise BuildError(
            f"{place} names the sign {label!r}, which is not a label", hint="use letters, digits, . and -"
        )
    return label
