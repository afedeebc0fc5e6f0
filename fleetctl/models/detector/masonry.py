"""Composing a wall: signs in columns between carved lines, as in the pyramid of Unas."""

from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from fleetctl.models.detector.relief import Relief
from fleetctl.models.detector.scenes import Scene, no_boxes
from fleetctl.models.samples import Grey
from fleetctl.models.stone import Field, bare_stone, blur, cracks, smooth_noise

SIDE = 450  # pixels of a wall, which leaves room to cut tiles at several sizes

_COLUMN = (80.0, 100.0)  # pixels from line to line
_GAP = (0.0, 9.0)  # between signs, where their margins end
_BOX_MARGIN = (1.0, 7.0)  # of the box around the sign
_CARTOUCHE = 0.08  # of the groups are a king's name in a ring
_BARE = 0.06  # of the groups are left out
_RUINED = 0.4  # of the walls end within the picture, in rough stone
_BALANCE = 0.5  # a sign with n samples comes in proportion to n**0.5


class _Laid(Struct, frozen=True):
    """A relief at its size on the wall, and where its upper left corner lies."""

    sign: str
    tone: Field
    margin: float
    top: float
    left: float

    def moved(self, down: float, right: float) -> "_Laid":
        return _Laid(self.sign, self.tone, self.margin, self.top + down, self.left + right)


class Mason:
    """Composes walls of reliefs; the same reliefs, seed and number always give the same wall."""

    def __init__(self, reliefs: Sequence[Relief], *, seed: int) -> None:
        self._by_sign: dict[str, list[Relief]] = {}
        for one in reliefs:
            self._by_sign.setdefault(one.sign, []).append(one)
        self._signs = sorted(self._by_sign)
        weights = np.array([len(self._by_sign[sign]) for sign in self._signs]) ** _BALANCE
        self._shares = weights / weights.sum()
        self._seed = seed

    def wall(self, number: int) -> Scene:
        """Wall `number`: a complete scene of `SIDE` x `SIDE` pixels."""
        rng = np.random.default_rng([self._seed, number])
        shape = (SIDE, SIDE)
        grey = bare_stone(shape, rng) + cracks(shape, rng)
        tone = np.ones(shape, np.float32)
        boxes, signs = [], []
        ruined = _ruin(tone, rng)
        for laid in self._columns(tone, rng):
            if not _meets(laid, ruined) and _cut(tone, laid):
                boxes.append(_box(laid, rng))
                signs.append(laid.sign)
        contrast = np.float32(rng.uniform(0.5, 1.3))
        worn = np.clip(1 + 0.25 * smooth_noise(shape, rng.uniform(15, 60), rng), 0.25, 1.3)
        grey *= 1 + (tone - 1) * contrast * worn
        return Scene(
            f"composed {number:05d}",
            _photographed(grey, rng),
            np.array(boxes, np.float32) if boxes else no_boxes(),
            tuple(signs),
            True,
        )

    def _columns(self, tone: Field, rng: np.random.Generator) -> Iterator[_Laid]:
        """Every sign of the wall; the lines between columns and the rings are cut into `tone` on the way."""
        right = -rng.uniform(0, _COLUMN[1])
        lined = rng.random() < 0.85
        strength = rng.uniform(0.1, 0.5)
        while right < SIDE:
            width = rng.uniform(*_COLUMN)
            if lined:
                _draw_line(tone, right, strength, rng)
            yield from self._column(tone, right + 3, width - 6, rng)
            right += width

    def _column(self, tone: Field, left: float, width: float, rng: np.random.Generator) -> Iterator[_Laid]:
        top = rng.uniform(-90, 10)
        while top < SIDE:
            kind = rng.random()
            if kind < _CARTOUCHE:
                group, height = self._cartouche(tone, top, left, width, rng)
            elif kind < _CARTOUCHE + _BARE:
                group, height = [], rng.uniform(10, 120)
            else:
                group, height = self._group(width, rng)
            yield from (laid.moved(top, left) for laid in group)
            top += height + rng.uniform(*_GAP)

    def _cartouche(
        self, tone: Field, top: float, left: float, width: float, rng: np.random.Generator
    ) -> tuple[list[_Laid], float]:
        """Two to four groups, one below the other, in a ring."""
        inner = 0.66 * width
        inside: list[_Laid] = []
        height = rng.uniform(8, 16)
        for _ in range(int(rng.integers(2, 5))):
            group, rows = self._group(inner, rng, size=0.72)
            inside += [laid.moved(height, (width - inner) / 2) for laid in group]
            height += rows + rng.uniform(0, 5)
        height += rng.uniform(8, 16)
        _draw_ring(tone, (top, left + 0.08 * width, height, 0.84 * width), rng)
        return inside, height + 6

    def _group(self, width: float, rng: np.random.Generator, size: float = 1.0) -> tuple[list[_Laid], float]:
        """Signs side by side that fill a column's width, from (0, 0) on; and their height."""
        row = [self._stack(width, rng, size)]
        while sum(_width(stack) for stack in row) < 0.62 * width and rng.random() < 0.75:
            stack = self._stack(width, rng, size)
            if sum(_width(one) for one in (*row, stack)) > width + 4:
                break
            row.append(stack)
        free = width - sum(_width(stack) for stack in row)
        height = max(_height(stack) for stack in row)
        laid, left = [], 0.0
        for stack in row:
            left += free / (len(row) + 1) + rng.normal(0, 1.5)
            down = (height - _height(stack)) * rng.choice([0.0, 0.5, 1.0])
            laid += [one.moved(down, left) for one in stack]
            left += _width(stack)
        return laid, height

    def _stack(self, width: float, rng: np.random.Generator, size: float) -> list[_Laid]:
        """One sign, or now and then two small ones, one above the other."""
        first = self._sign(width, rng, size)
        if _width([first]) > 0.55 * width or _height([first]) > 42 * size or rng.random() < 0.6:
            return [first]
        second = self._sign(width, rng, size)
        if _width([second]) > 0.55 * width or _height([second]) > 42 * size:
            return [first]
        return [first, second.moved(_height([first]), (_width([first]) - _width([second])) / 2)]

    def _sign(self, width: float, rng: np.random.Generator, size: float) -> _Laid:
        """A random sign at the origin, its margin outside of it, no wider than `width`."""
        from PIL import Image

        sign = self._signs[int(rng.choice(len(self._signs), p=self._shares))]
        choices = self._by_sign[sign]
        one = choices[int(rng.integers(len(choices)))]
        height, across = one.tone.shape[0] - 2 * one.margin, one.tone.shape[1] - 2 * one.margin
        scale = size * rng.uniform(0.9, 1.15)
        if one.shrunk:
            scale = size * min(rng.uniform(66, 84) / across, rng.uniform(66, 96) / height)
        scale = min(scale, width / across)
        target = (max(4, round(one.tone.shape[1] * scale)), max(4, round(one.tone.shape[0] * scale)))
        resized = Image.fromarray(one.tone).resize(target, Image.Resampling.BILINEAR)
        margin = one.margin * scale
        return _Laid(sign, np.asarray(resized, np.float32), margin, -margin, -margin)


def _width(stack: Sequence[_Laid]) -> float:
    return max(laid.tone.shape[1] - 2 * laid.margin for laid in stack)


def _height(stack: Sequence[_Laid]) -> float:
    return sum(laid.tone.shape[0] - 2 * laid.margin for laid in stack) + 3.0 * (len(stack) - 1)


def _cut(tone: Field, laid: _Laid) -> bool:
    """Cut a sign into the wall, as far as it lies on it; False if it lies wholly outside."""
    top, left = round(laid.top), round(laid.left)
    bottom, right = top + laid.tone.shape[0], left + laid.tone.shape[1]
    rows = slice(max(0, top), min(SIDE, bottom))
    columns = slice(max(0, left), min(SIDE, right))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return False
    tone[rows, columns] *= laid.tone[
        rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]
    return True


def _ruin(tone: Field, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Rough stone along one side of the wall, with ledges and no signs; where it is, bool (SIDE, SIDE)."""
    ruined = np.zeros((SIDE, SIDE), bool)
    if rng.random() >= _RUINED:
        return ruined
    depth = int(rng.uniform(20, 0.45 * SIDE))
    rough = 1 + rng.uniform(0.02, 0.08) * smooth_noise((SIDE, SIDE), rng.uniform(2, 5), rng)
    rough += rng.uniform(0.03, 0.12) * smooth_noise((SIDE, SIDE), rng.uniform(8, 30), rng)
    for _ in range(int(rng.integers(0, 14))):
        place, length = rng.integers(0, SIDE), int(rng.uniform(0.2, 1) * SIDE)
        start = int(rng.integers(0, SIDE - length + 1))
        ledge = (slice(place, place + int(rng.integers(1, 5))), slice(start, start + length))
        rough[ledge if rng.random() < 0.7 else ledge[::-1]] *= rng.uniform(0.45, 1.15)
    ruined[:, :depth] = True
    ruined = np.rot90(ruined, int(rng.integers(4))).copy()
    tone[ruined] *= np.clip(blur(rough, 0.8), 0.2, 1.5)[ruined]
    return ruined


def _meets(laid: _Laid, ruined: NDArray[np.bool_]) -> bool:
    """Whether a sign would reach into the rough stone."""
    top, left = max(0, round(laid.top)), max(0, round(laid.left))
    return bool(ruined[top : top + laid.tone.shape[0], left : left + laid.tone.shape[1]].any())


def _box(laid: _Laid, rng: np.random.Generator) -> tuple[float, ...]:
    """The sign with a little of the stone around it. It may hang over the wall's edge."""
    before, above, after, below = rng.uniform(*_BOX_MARGIN, 4)
    top, left = round(laid.top) + laid.margin, round(laid.left) + laid.margin
    bottom = top + laid.tone.shape[0] - 2 * laid.margin
    right = left + laid.tone.shape[1] - 2 * laid.margin
    return (left - before, top - above, right + after, bottom + below)


def _draw_line(tone: Field, place: float, strength: float, rng: np.random.Generator) -> None:
    """A carved line from top to bottom, not quite straight, not everywhere deep."""
    rows = np.arange(SIDE)
    wander = place + np.cumsum(rng.normal(0, 0.12, SIDE))
    distance = np.abs(np.arange(SIDE)[None, :] - wander[:, None])
    depth = np.clip(strength * (1 + 0.5 * np.sin(rows / rng.uniform(20, 60) + rng.uniform(0, 6))), 0, 0.7)
    tone *= np.asarray(1 - depth[:, None] * np.exp(-((distance / rng.uniform(1.0, 1.8)) ** 2)), np.float32)


def _draw_ring(tone: Field, frame: tuple[float, float, float, float], rng: np.random.Generator) -> None:
    """A king's ring: a rounded rectangle's outline; `frame` is its top, left, height and width."""
    from PIL import Image, ImageDraw

    top, left, height, width = frame
    drawn = Image.new("L", (SIDE, SIDE))
    box = [left, top, left + width, top + height]
    ImageDraw.Draw(drawn).rounded_rectangle(
        box, radius=0.48 * width, outline=255, width=int(rng.integers(3, 6))
    )
    ring = np.asarray(drawn, np.float32) / np.float32(255)
    tone *= 1 - np.float32(rng.uniform(0.15, 0.6)) * blur(ring, 0.8)


def _photographed(grey: Field, rng: np.random.Generator) -> Grey:
    focused = blur(grey, rng.uniform(0.0, 0.8))
    noisy = focused + rng.uniform(0.5, 4.0) * rng.standard_normal(grey.shape, dtype=np.float32)
    return np.asarray(np.clip(np.rint(noisy), 0, 255), np.uint8)
