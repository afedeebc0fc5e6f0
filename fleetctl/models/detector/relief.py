"""What a sign does to the stone it is cut into, taken from a photo of it, to be cut into another stone."""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from fleetctl.models.samples import Grey, Samples
from fleetctl.models.stone import Field, blur

_INK = 0.10  # darker or brighter than the bare stone by this fraction is part of the sign
_MARGIN = 5  # pixels of the photo around the sign that go with it
# Photos of Franken's set show small signs as large as they are on the wall, and larger ones shrunk to fit the
# frame of 50x75 pixels: what nearly fills its frame may have been larger.
_FILLS = 0.88
_LARGEST = 300  # pixels of a photo's longer side that are made use of
_STRAY = 2  # pixels of ink in a line of the photo that are still dirt


class Relief(Struct, frozen=True):
    """A sign: `tone` float32 (H, W) is what the stone's grey level is multiplied by, 1 at the edges.

    `margin` pixels on each side are stone around it; `shrunk` says that the sign may be larger on a wall.
    """

    sign: str
    tone: Field
    margin: int
    shrunk: bool


def reliefs(samples: Samples) -> list[Relief]:
    """The relief of every sample on which a sign can be told from the stone."""
    found = (relief(image, sign) for image, sign in zip(samples.images, samples.labels, strict=True))
    return [one for one in found if one is not None]


def relief(image: Grey, sign: str) -> Relief | None:
    """The relief of one photo; None where nothing stands out of the stone."""
    image = _of_usual_size(image)
    tone = image / np.maximum(np.float32(1), _stone_level(image))
    ink = np.abs(blur(np.asarray(tone, np.float32), 0.8) - 1) > _INK
    rows = np.flatnonzero(ink.sum(axis=1) > _STRAY)
    columns = np.flatnonzero(ink.sum(axis=0) > _STRAY)
    if not len(rows) or not len(columns):
        return None
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    height, width = image.shape
    padded = np.pad(tone, _MARGIN, mode="edge")
    cut = padded[top : bottom + 2 * _MARGIN, left : right + 2 * _MARGIN]
    shrunk = bottom - top >= _FILLS * height or right - left >= _FILLS * width
    faded = 1 + (np.clip(cut, 0.15, 1.7) - 1) * _fade(cut.shape)
    return Relief(sign, np.asarray(faded, np.float32), _MARGIN, bool(shrunk))


def _of_usual_size(image: Grey) -> Grey:
    """The photo, shrunk if it is much larger than any sign on a wall will be."""
    from PIL import Image

    if max(image.shape) <= _LARGEST:
        return image
    picture = Image.fromarray(image)
    picture.thumbnail((_LARGEST, _LARGEST), Image.Resampling.BOX)
    return np.asarray(picture)


def _stone_level(image: Grey) -> NDArray[np.float32]:
    """The grey of the bare stone under the sign: a plane through the median of each corner region."""
    height, width = image.shape
    down, across = max(1, height // 4), max(1, width // 4)
    corners = [
        np.median(image[rows, columns])
        for rows in (slice(0, down), slice(height - down, height))
        for columns in (slice(0, across), slice(width - across, width))
    ]
    up, low = (np.linspace(corners[i], corners[i + 1], width) for i in (0, 2))
    weight = np.linspace(0, 1, height)[:, None]
    return np.asarray(up[None, :] * (1 - weight) + low[None, :] * weight, np.float32)


def _fade(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """1 over the sign, falling to 0 at the edge of its margin."""
    rows, columns = (
        np.clip(np.minimum(np.arange(size), size - 1 - np.arange(size)) / _MARGIN, 0, 1) for size in shape
    )
    return np.asarray(rows[:, None] * columns[None, :], np.float32)
