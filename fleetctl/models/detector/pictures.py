"""Photos of whole walls, PNG or JPEG, as grey or coloured pixels."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetctl.errors import BuildError
from fleetctl.models.samples import Grey

SUFFIXES = (".png", ".jpg", ".jpeg")
MAX_PIXELS = 64 << 20  # a large camera; a file that claims more is not opened


def read(path: Path) -> NDArray[np.uint8]:
    """A photo as uint8 (H, W, 3), turned the way its EXIF says.

    Transparency is dropped, 16-bit greys keep their upper half.

    Raises:
        BuildError: absent, unreadable, neither PNG nor JPEG whatever its name says, or far too large.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                _demand_size(image)
                return _colours(ImageOps.exif_transpose(image))
    except (
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombWarning,
        Image.DecompressionBombError,
    ) as exc:
        raise BuildError(
            f"{path} is not a readable PNG or JPEG: {exc}", hint="give a photo of a wall"
        ) from None


def read_grey(path: Path) -> Grey:
    """A photo as uint8 (H, W), by the luma that boards use.

    Raises:
        BuildError: as `read`.
    """
    from fleetctl.device.preprocess import to_grey

    return to_grey(read(path))


def _colours(image: Any) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):
        grey = np.asarray(np.asarray(image).astype(np.uint32) >> 8, np.uint8)
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    return np.array(image.convert("RGB"))


def _demand_size(image: Any) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width}x{image.height} pixels are more than {MAX_PIXELS}")
