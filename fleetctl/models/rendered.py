"""Signs drawn from an installed hieroglyph font as if carved in stone, for want of photos or beside them."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fleetctl.errors import BuildError
from fleetctl.models import gardiner
from fleetctl.models.stone import Carving, blur, carve, smooth_noise

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

HEIGHT, WIDTH = 75, 50  # of the photos in Franken's set
_OVERSAMPLING = 2
_EM = 160  # font size of the drawn outlines, pixels
_MARGIN = 4
_NO_CHARACTER = "\U0010ffff"  # Unicode promises that this never is one


@dataclass(frozen=True, slots=True)
class Outline:
    """A sign as the font has it, but facing right as on the wall.

    `solid` is its area, `open` its area without inner holes, `lines` what the font draws; greys in 0..255.
    """

    solid: "Image"
    open: "Image"
    lines: "Image"


class Carver:
    """Draws samples of signs; the same font, seed, sign and index always give the same pixels."""

    def __init__(self, font: Path, *, seed: int) -> None:
        from PIL import ImageFont

        try:
            self._font = ImageFont.truetype(str(font), _EM)
        except OSError as exc:
            raise BuildError(f"{font} cannot be read as a font: {exc}") from None
        self._path = font
        self._seed = seed
        self._outlines: dict[str, Outline] = {}

    def sample(self, sign: str, index: int) -> NDArray[np.uint8]:
        """Sample number `index` of a sign: uint8 (75, 50), grey.

        Raises:
            BuildError: the font, or Unicode, has no such sign.
        """
        rng = np.random.default_rng([self._seed, zlib.crc32(sign.encode()), index])
        outline = self._outline(sign)
        grey = carve(_place(outline, rng), rng) + _surroundings(rng)
        return _photograph(grey, rng)

    def _outline(self, sign: str) -> Outline:
        if sign not in self._outlines:
            if character := gardiner.characters().get(sign):
                self._demand_drawn(sign, character)
            self._outlines[sign] = _outline(self._font, sign)
        return self._outlines[sign]

    def _demand_drawn(self, sign: str, character: str) -> None:
        """A font draws one and the same box, or nothing, for every character that it lacks."""
        drawn, lacking = (bytes(self._font.getmask(text)) for text in (character, _NO_CHARACTER))
        if drawn in (b"", lacking):
            raise BuildError(
                f"{self._path} has no character for {sign}",
                hint="use a font with all Egyptian hieroglyphs, such as Noto Sans Egyptian Hieroglyphs",
            )


def drawable(signs: Sequence[str]) -> list[str]:
    """Those of `signs` that Unicode has a character for, in the given order."""
    known = gardiner.characters()
    return [sign for sign in signs if sign in known]


def _outline(font: "FreeTypeFont", sign: str) -> Outline:
    from PIL import Image, ImageDraw, ImageOps

    character = gardiner.characters().get(sign)
    if character is None:
        raise BuildError(
            f"{sign} is not a sign that Unicode has", hint="use Gardiner codes such as G17 or Aa15"
        )
    left, top, right, bottom = (int(edge) for edge in font.getbbox(character))
    drawn = Image.new("L", (right - left + 2 * _MARGIN, bottom - top + 2 * _MARGIN))
    ImageDraw.Draw(drawn).text((_MARGIN - left, _MARGIN - top), character, font=font, fill=255)
    lines = np.asarray(ImageOps.mirror(drawn))  # fonts look left, the signs on the wall look right
    solid, open_ = _areas(lines > 96)
    whole, hollow = (Image.fromarray(np.maximum(lines, area)) for area in (solid, open_))
    return Outline(whole, hollow, Image.fromarray(lines))


def _areas(ink: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """What the lines of a sign enclose: all of it, and all but what lies inside a second closed line.

    The font draws an ankh's strap by two lines; what the inner one encloses is the hole of the loop.
    """
    border = np.ones_like(ink)
    border[1:-1, 1:-1] = False
    outside = _flood(border, ~ink)
    outer_ink = _flood(_grow(outside), ink)
    between = _flood(_grow(outer_ink), ~ink & ~outside)
    inner_ink = _flood(_grow(between), ink & ~outer_ink)
    return _levels(~outside), _levels(outer_ink | between | inner_ink)


def _levels(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.where(mask, 255, 0).astype(np.uint8)


def _flood(seed: NDArray[np.bool_], allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Every allowed pixel that is connected to the seed through allowed pixels."""
    reached = seed & allowed
    while True:
        grown = _grow(reached) & allowed
        if (grown == reached).all():
            return reached
        reached = grown


def _grow(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= grown[:, :-1].copy()
    grown[:, :-1] |= grown[:, 1:].copy()
    return grown


def _place(outline: Outline, rng: np.random.Generator) -> Carving:
    """The sign on the canvas at its size, moved, turned, slanted and stretched a little."""
    from PIL import Image

    width, height = outline.lines.size
    natural = 66.0 / _EM  # a standing bird then fills most of the photo's height
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
