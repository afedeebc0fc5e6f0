"""Photos of whole walls, PNG or JPEG, as grey or coloured pixels."""

import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetctl.device import images
from fleetctl.errors import BuildError
from fleetctl.models import build_tools, photos
from fleetctl.models.photos import BROKEN, on_white
from fleetctl.models.samples import Grey

SUFFIXES = (".png", ".jpg", ".jpeg")
MAX_PIXELS = 64 << 20  # a large camera; a file that claims more is not opened

_ORIENTATION = 0x0112


def read(path: Path) -> NDArray[np.uint8]:
    """A photo as uint8 (H, W, 3), with the pixels that a board sees of a PNG that it reads.

    A JPEG is turned the way its EXIF says, if that can be read: no board reads one. That of a PNG is history
    to the PNG specification (11.3.3.4), and to boards. What is transparent lies on white; 16-bit greys, which
    boards do not read either, keep their upper half.

    Raises:
        BuildError: absent, unreadable, neither PNG nor JPEG whatever its name says, or far too large.
        ToolchainMissing: Pillow is not installed.
    """
    seen = _decoded(path)
    return _as_on_boards(seen, path.read_bytes()) if _is_png(path) else seen


def refusal(path: Path) -> str:
    """Why a board would turn a photo away that `read` takes; empty where it would not."""
    try:
        _seen_by_boards(path.read_bytes())
    except images.ImageError as error:
        return str(error)
    return ""


def _as_on_boards(seen: NDArray[np.uint8], data: bytes) -> NDArray[np.uint8]:
    """The pixels that a board has of a PNG, which may be others than are `seen` here, if it has any."""
    with suppress(images.ImageError):
        if (pixels := _seen_by_boards(data)) is not None:
            return pixels if pixels.ndim == 3 else _in_colours(pixels)
    return seen


def _seen_by_boards(data: bytes) -> NDArray[np.uint8] | None:
    """The pixels that boards have of a picture; None where every decoder has them. Raises `ImageError`."""
    if data.startswith(photos.SIGNATURE) and images.demand_png(data):
        return None
    pixels: NDArray[np.uint8] = images.decode(data)
    return pixels


def _decoded(path: Path) -> NDArray[np.uint8]:
    build_tools.demand("PIL")
    from PIL import Image

    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise BuildError(f"{path} is not a file", hint="give a photo of a wall")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, which nobody asked about
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                _demand_size(image)
                # Pillow calls a JPEG with a second one behind it, as phones make them, by another name.
                return _colours(image if image.format == "PNG" else _turned(image))
    except (*BROKEN, Image.DecompressionBombWarning, Image.DecompressionBombError) as exc:
        raise BuildError(
            f"{path} is not a readable PNG or JPEG: {str(exc) or 'its parts contradict each other'}",
            hint="give a photo of a wall",
        ) from None


def read_grey(path: Path) -> Grey:
    """A photo to learn from as uint8 (H, W), by the luma that boards use.

    Raises:
        BuildError: as `read`, or a PNG of a kind that boards turn away.
    """
    from fleetctl.device.preprocess import to_grey

    return photos.decode(path) if _is_png(path) else to_grey(read(path))


def _is_png(path: Path) -> bool:
    """Whatever its name says; of what cannot be opened, the one who reads it says why."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as stream:
            return stream.read(len(photos.SIGNATURE)) == photos.SIGNATURE
    except OSError:
        return False


def _turned(image: Any) -> Any:
    """Upright. Pillow's `exif_transpose` writes the EXIF anew too, and fails where it is no more than odd."""
    from PIL.Image import Transpose

    try:
        orientation = image.getexif().get(_ORIENTATION)
    except BROKEN:
        return image
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image


def _colours(image: Any) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):
        return _in_colours(np.asarray(np.asarray(image).astype(np.uint32) >> 8, np.uint8))
    return on_white(image)


def _in_colours(grey: Grey) -> NDArray[np.uint8]:
    return np.repeat(grey[:, :, np.newaxis], 3, axis=2)


def _demand_size(image: Any) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width}x{image.height} pixels are more than {MAX_PIXELS}")
