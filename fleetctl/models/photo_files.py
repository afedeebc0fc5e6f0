"""Labelled photos in a folder: `*_CODE.png` directly in it, or `CODE/*.png` in folders named by label.

Nothing is opened and nothing heavy imported: a plan looks here too.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from fleetctl.errors import BuildError
from fleetctl.models import gardiner

REPLACE = "replace it, or move it away"

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}")
_LAYOUTS = "photos are named *_CODE.png, or lie in folders named by their sign"
_OTHER_KINDS = (
    *(".jpg", ".jpeg", ".jfif", ".jp2", ".gif", ".bmp", ".tif", ".tiff"),
    *(".webp", ".heic", ".heif", ".avif"),
)
_NOT_PHOTOS = "__MACOSX"  # what macOS puts into archives beside photos, of the same names


class Photo(Struct, frozen=True):
    """A photo that is there: its path, its label, and its name relative to the dataset's folder."""

    path: Path
    label: str
    name: str


def find(folder: Path) -> list[Photo]:
    """Every photo of a folder, sorted by name; nothing is opened.

    Raises:
        BuildError: no such folder, a photo without a usable label or with a name that is not UTF-8, a sign's
            folder without photos, or no photo at all.
    """
    if not folder.is_dir():
        raise BuildError(f"{folder} is not a folder of photos", hint="check `path` of the dataset")
    try:
        photos = sorted(_photos(folder), key=lambda photo: photo.name)
    except OSError as error:
        place = shown(str(error.filename or folder))
        raise BuildError(f"{place} cannot be read: {error.strerror}") from None
    if not photos:
        raise BuildError(f"{folder} holds no photos", hint=_LAYOUTS)
    return photos


def _photos(folder: Path) -> Iterator[Photo]:
    for entry in _visible(folder):
        _, separator, label = Path(entry.name).stem.rpartition("_")
        if entry.is_dir():
            yield from _labelled_folder(folder, entry)
        elif _is_png(entry):
            if not separator:
                raise BuildError(f"{shown(entry.path)} does not say its sign", hint=_LAYOUTS)
            yield Photo(_file(folder, entry), _checked(label, entry.path), entry.name)
        elif separator and gardiner.is_code(label):
            _demand_no_photo(entry)


def _labelled_folder(folder: Path, directory: "os.DirEntry[str]") -> Iterator[Photo]:
    found = False
    for entry in _visible(Path(directory.path)):
        if entry.is_dir():
            raise BuildError(f"{shown(entry.path)} lies too deep for a folder of photos", hint=_LAYOUTS)
        if _is_png(entry):
            found, path = True, _file(folder, entry)
            yield Photo(path, _checked(directory.name, directory.path), path.relative_to(folder).as_posix())
        else:
            _demand_no_photo(entry)
    if not found and gardiner.is_code(directory.name):
        raise BuildError(
            f"{directory.path} holds no photos of its sign", hint="put PNGs into it, or remove the folder"
        )


def _visible(folder: Path) -> list["os.DirEntry[str]"]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".") and entry.name != _NOT_PHOTOS]


def _is_png(entry: "os.DirEntry[str]") -> bool:
    return entry.name.lower().endswith(".png")


def _file(folder: Path, entry: "os.DirEntry[str]") -> Path:
    """Where an entry lies, if it is a file: a pipe would be waited for, a dead link is a photo lost."""
    demand_utf8(folder, Path(entry.path))
    if not entry.is_file():
        raise BuildError(f"{entry.path} is not a file", hint=REPLACE)
    return Path(entry.path)


def demand_utf8(folder: Path, path: Path) -> None:
    """Raise `BuildError` for a name below `folder` that no digest, card or JSON can hold."""
    if not _is_utf8(str(path.relative_to(folder))):
        raise BuildError(f"the name of {shown(str(path))} is not UTF-8", hint="rename it")


def shown(path: str) -> str:
    """A path as it can be printed, whatever its bytes are."""
    return path if _is_utf8(path) else os.fsencode(path).decode(errors="backslashreplace")


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:  # Python keeps other bytes as halves of surrogate pairs
        return False
    return True


def _demand_no_photo(entry: "os.DirEntry[str]") -> None:
    """Notes and tables may lie beside photos; a photo of a kind that is not read must not go unnoticed."""
    if entry.name.lower().endswith(_OTHER_KINDS):
        raise BuildError(
            f"{shown(entry.path)} is a photo that is no PNG", hint="convert it to PNG, or move it away"
        )


def _checked(label: str, place: str) -> str:
    if not _LABEL.fullmatch(label):
        raise BuildError(
            f"{place} names the sign {label!r}, which is not a label", hint="use letters, digits, . and -"
        )
    return label
