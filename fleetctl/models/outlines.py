"""The outlines that fonts have of signs, turned to look as they do on the wall."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from fleetctl.errors import BuildError
from fleetctl.models import gardiner

if TYPE_CHECKING:
    from PIL.Image import Image

EM = 160  # size of the outlines, pixels
_MARGIN = 4
_NO_CHARACTER = "\U0010ffff"  # Unicode promises that this never is one
_HINT = "use a font with all Egyptian hieroglyphs, such as Noto Sans Egyptian Hieroglyphs"


class Outline(Struct, frozen=True):
    """A sign as the font has it, but facing right as on the wall.

    `solid` is its area, `open` its area without inner holes, `lines` what the font draws; greys in 0..255.
    """

    solid: "Image"
    open: "Image"
    lines: "Image"


class FontOutlines:
    """The outlines of one font, each made once.

    Raises:
        BuildError: the file is no font.
    """

    def __init__(self, path: Path) -> None:
        from PIL import ImageFont

        try:
            self._font = ImageFont.truetype(str(path), EM)
        except OSError as exc:
            raise BuildError(f"{path} cannot be read as a font: {exc}") from None
        self._path = path
        self._made: dict[str, Outline] = {}

    def has(self, sign: str) -> bool:
        """Whether the font draws this sign."""
        return (character := self._character(sign)) is not None and self._is_drawn(character)

    def outline(self, sign: str) -> Outline:
        """The sign's outline, EM pixels to the em; for signs that the font has."""
        if sign not in self._made:
            character = self._character(sign)
            assert character is not None
            self._made[sign] = self._draw(character)
        return self._made[sign]

    def _character(self, sign: str) -> str | None:
        return gardiner.characters().get(sign) or self._named.get(sign)

    @cached_property
    def _named(self) -> dict[str, str]:
        """Signs by the names of glyphs: the way to those that Unicode lacks, at points of the font's own."""
        from fontTools.ttLib import TTFont, TTLibError

        try:
            with TTFont(self._path, lazy=True, fontNumber=0) as font:  # of a collection, as Pillow does
                points = font.getBestCmap() or {}
        except TTLibError:
            return {}  # such as a bitmap font: Pillow draws from it, and its glyphs have no such names
        return {name: chr(point) for point, name in points.items() if gardiner.is_code(name)}

    def _is_drawn(self, character: str) -> bool:
        """A font draws one and the same box, or nothing, for every character that it lacks."""
        drawn, lacking = (bytes(self._font.getmask(text)) for text in (character, _NO_CHARACTER))
        return drawn not in (b"", lacking)

    def _draw(self, character: str) -> Outline:
        from PIL import Image, ImageDraw, ImageOps

        left, top, right, bottom = (int(edge) for edge in self._font.getbbox(character))
        drawn = Image.new("L", (right - left + 2 * _MARGIN, bottom - top + 2 * _MARGIN))
        corner = (_MARGIN - left, _MARGIN - top)
        ImageDraw.Draw(drawn).text(corner, character, font=self._font, fill=255)
        lines = np.asarray(ImageOps.mirror(drawn))  # fonts look left, the signs on the wall look right
        solid, open_ = _areas(lines > 96)
        whole, hollow = (Image.fromarray(np.maximum(lines, area)) for area in (solid, open_))
        return Outline(whole, hollow, Image.fromarray(lines))


class Outlines:
    """The outlines of several fonts, which draw the samples of a sign in turn.

    Fonts differ more than the hand of one mason: a reader that met a sign in two of them reads more of its
    photos than one that met it in either.
    """

    def __init__(self, fonts: Sequence[Path]) -> None:
        self._fonts = [FontOutlines(font) for font in fonts]
        self._names = ", ".join(str(font) for font in fonts)
        self._having: dict[str, list[FontOutlines]] = {}

    def has(self, sign: str) -> bool:
        """Whether any of the fonts draws this sign."""
        return bool(self._fonts_with(sign))

    def outline(self, sign: str, index: int) -> Outline:
        """The outline for sample number `index` of a sign.

        Raises:
            BuildError: no font has the sign.
        """
        having = self._fonts_with(sign)
        if not having:
            raise self._lacking(sign)
        return having[index % len(having)].outline(sign)

    def _fonts_with(self, sign: str) -> list[FontOutlines]:
        if sign not in self._having:
            self._having[sign] = [font for font in self._fonts if font.has(sign)]
        return self._having[sign]

    def _lacking(self, sign: str) -> BuildError:
        if sign in gardiner.characters():
            return BuildError(f"{self._names} has no character for {sign}", hint=_HINT)
        return BuildError(
            f"{sign} is not a sign that Unicode has", hint="use Gardiner codes such as G17 or Aa15"
        )


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
