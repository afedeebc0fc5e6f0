"""Signs drawn from an installed hieroglyph font as if carved in stone, for want of photos or beside them."""

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fleetctl.models import gardiner
from fleetctl.models.outlines import EM, Outline, Outlines
from fleetctl.models.stone import Carving, blur, carve, smooth_noise

HEIGHT, WIDTH = 75, 50  # of the photos in Franken's set
_OVERSAMPLING = 2


class Carver:
    """Draws samples of signs; the same fonts, seed, sign and index always give the same pixels.

    Raises:
        BuildError: one of the files is no font.
    """

    def __init__(self, fonts: Sequence[Path], *, seed: int) -> None:
        self._outlines = Outlines(fonts)
        self._seed = seed

    def sample(self, sign: str, index: int) -> NDArray[np.uint8]:
        """Sample number `index` of a sign: uint8 (75, 50), grey.

        Raises:
            BuildError: no font, or not even Unicode, has such a sign.
        """
        rng = np.random.default_rng([self._seed, zlib.crc32(sign.encode()), index])
        outline = self._outlines.outline(sign, index)
        grey = carve(_place(outline, rng), rng) + _surroundings(rng)
        return _photograph(grey, rng)


def drawable(signs: Sequence[str], fonts: Sequence[Path]) -> list[str]:
    """Those of `signs`, in their order, that Unicode has a character for, or a font a glyph of that name."""
    known, outlines = gardiner.characters(), Outlines(fonts)
    return [sign for sign in signs if sign in known or outlines.has(sign)]


def _place(outline: Outline, rng: np.random.Generator) -> Carving:
    """The sign on the canvas at its size, moved, turned, slanted and stretched a little."""
    from PIL import Image

    width, height = outline.lines.size
    natural = 66.0 / EM  # a standing bird then fills most of the photo's height
    scale = min(natural, 47.0 / width, 69.0 / height) * rng.uniform(0.84, 1.06) * _OVERSAMPLING
    stretch = np.exp(rng.normal(0, 0.10))
    turn, slant = rng.normal(0, 0.035), rng.normal(0, 0.04)
    cos, sin = np.cos(turn), np.sin(turn)
    # Canvas -> outline, which is the direction PIL wants: the inverse of turn times stretch.
    a, b, d = scale * stretch, slant, scale / stretch
    inverse = np.array([[d * cos + b * sin, d * sin - b * cos], [-a * sin, a * cos]]) / (a * d)
    canvas = np.array([WIDTH, HEIGHT]) * _OVERSAMPLING / 2 + rng.normal(0, 2.0, 2)
    offset = np.array([width, height]) / 2 - inverse @ canvas
    matrix = (*inverse[0], offset[0], *inverse[1], offset[1])
    size = (WIDTH * _OVERSAMPLING, HEIGHT * _OVERSAMPLING)
    area, lines = (
        np.asarray(
            mask.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR), np.float32
        )
        / np.float32(255)
        for mask in (outline.solid if rng.random() < 0.5 else outline.open, outline.lines)
    )
    return Carving(area, lines)


def _surroundings(rng: np.random.Generator) -> NDArray[np.float32]:
    """What a crop catches of its neighbourhood: column lines and the ends of other signs, at the border."""
    shape = (HEIGHT * _OVERSAMPLING, WIDTH * _OVERSAMPLING)
    field = np.zeros(shape, np.float32)
    if rng.random() < 0.12:
        column = int(rng.choice([rng.integers(0, 8), rng.integers(shape[1] - 8, shape[1])]))
        field[:, column : column + 3] -= np.float32(rng.uniform(20, 80))
    for _ in range(rng.poisson(0.35)):
        y = rng.choice([rng.uniform(-6, 8), rng.uniform(shape[0] - 8, shape[0] + 6)])
        x = rng.uniform(0, shape[1])
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        distance = ((rows - y) / rng.uniform(4, 12)) ** 2 + ((columns - x) / rng.uniform(4, 20)) ** 2
        field -= np.float32(rng.uniform(20, 80)) * np.asarray(distance < 1, np.float32)
    return blur(field, 1.2) * np.clip(1 + 0.4 * smooth_noise(shape, 6, rng), 0, 2)


def _photograph(grey: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Focus, sensor size, sensor noise."""
    focused = blur(grey, rng.uniform(0.3, 1.3))
    sampled = focused.reshape(HEIGHT, _OVERSAMPLING, WIDTH, _OVERSAMPLING).mean(axis=(1, 3))
    noisy = sampled + rng.uniform(0.3, 3.0) * rng.standard_normal(sampled.shape, dtype=np.float32)
    return np.asarray(np.clip(np.rint(noisy), 0, 255), np.uint8)
