"""A piece of carved limestone: what light, wear and a camera make of the outline of a sign.

Everything works on float32 arrays of grey levels or of depths in [0, 1], at the resolution of the canvas.
"""

import math
from functools import lru_cache

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Field = NDArray[np.float32]


class Carving(Struct, frozen=True):
    """A sign's shape on the canvas: the area it covers, and the lines drawn inside it; both in [0, 1]."""

    area: Field
    lines: Field


def carve(carving: Carving, rng: np.random.Generator) -> Field:
    """Grey levels in 0..255 of the stone with the sign cut into it.

    The signs are sunk reliefs, filled with blue paint that photographs dark and is partly gone: each is a
    random mixture of dark filling, dark lines and mere edges that catch the light.
    """
    shape = carving.area.shape
    present = _wear(shape, rng)
    area = _roughen(carving.area, rng) * present
    lines = _roughen(carving.lines, rng) * present
    filling = rng.beta(0.8, 0.7)
    depth = np.maximum(area * np.float32(rng.uniform(0.4, 1.0)), lines * np.float32(rng.uniform(0.2, 1.0)))

    grey = bare_stone(shape, rng)
    contrast = rng.uniform(45.0, 160.0)
    patchy = np.clip(0.85 + rng.uniform(0.05, 0.3) * smooth_noise(shape, rng.uniform(4, 14), rng), 0.3, 1.1)
    grey -= np.float32(contrast * filling) * area * patchy
    grey -= np.float32(contrast * (1.0 - 0.6 * filling)) * _rim(area, lines, rng) * patchy
    grey += _shading(depth, rng)
    grey += cracks(shape, rng)
    return grey


def smooth_noise(shape: tuple[int, ...], reach: float, rng: np.random.Generator) -> Field:
    """Noise of mean 0 and deviation about 1 whose features are about `reach` pixels wide, to a fifth."""
    fifths = round(reach * 5)
    rows, columns = (_spread(size, fifths) for size in shape)
    grid = rng.standard_normal((rows.shape[1], columns.shape[1]), dtype=np.float32)
    return _product(rows, grid, columns) * np.float32(1.6)


def blur(field: Field, sigma: float) -> Field:
    """Gaussian blur with the edge repeated; sigma in pixels, rounded to a tenth."""
    tenths = round(sigma * 10)
    if tenths == 0:
        return field
    height, width = field.shape
    return _product(_gaussian(height, tenths), field, _gaussian(width, tenths))


def _product(rows: Field, field: Field, columns: Field) -> Field:
    """`rows @ field @ columns.T`, in blocks so small that BLAS does not wake its threads for them.

    On a busy machine waiting for those threads takes ten times as long as the product itself.
    """
    blocks = rows.reshape(-1, math.gcd(len(rows), 10), rows.shape[1])
    return np.asarray((blocks @ field @ columns.T).reshape(len(rows), len(columns)), np.float32)


@lru_cache(maxsize=256)
def _gaussian(size: int, tenths: int) -> Field:
    places = np.arange(size)
    distance = (places[:, None] - places[None, :]) * (10.0 / tenths)
    weights = np.exp(-0.5 * distance**2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


@lru_cache(maxsize=512)
def _spread(size: int, fifths: int) -> Field:
    """Weights (size, nodes) that interpolate between nodes `fifths / 5` pixels apart."""
    reach = fifths / 5
    nodes = int(size / reach) + 3
    distance = np.arange(size)[:, None] / reach - (np.arange(nodes)[None, :] - 1.0)
    return np.asarray(np.exp(-1.6 * distance**2), np.float32)


def bare_stone(shape: tuple[int, ...], rng: np.random.Generator) -> Field:
    """Bare stone: a level, a slope of light, stains and grain."""
    height, width = shape
    level = rng.uniform(165, 225)
    down, across = rng.normal(0, 10, 2)
    slope = np.linspace(-down, down, height)[:, None] + np.linspace(-across, across, width)[None, :]
    stains = rng.uniform(1, 7) * smooth_noise(shape, rng.uniform(15, 40), rng)
    grain = rng.uniform(0.3, 4.0) * smooth_noise(shape, rng.uniform(1.5, 4.0), rng)
    # Pits in the stone are few and sharp: the cubed tail of a noise.
    tail = np.minimum(smooth_noise(shape, rng.uniform(2.0, 5.0), rng), 0)
    pits = max(0.0, rng.uniform(-2.0, 1.2)) * tail * tail * tail
    return np.asarray(level + slope + stains + grain + np.maximum(pits, -60), np.float32)


def _roughen(mask: Field, rng: np.random.Generator) -> Field:
    """A hand-cut edge: the outline moves in and out by about a pixel."""
    noise = smooth_noise(mask.shape, rng.uniform(3, 9), rng)
    soft = blur(mask, rng.uniform(0.5, 1.2))
    steep = np.float32(rng.uniform(2.0, 5.0))
    level = np.float32(rng.uniform(0.25, 0.45))
    return np.clip((soft - level + np.float32(rng.uniform(0.0, 0.15)) * noise * soft) * steep + 0.5, 0, 1)


def _wear(shape: tuple[int, ...], rng: np.random.Generator) -> Field:
    """Where the sign is still there: 1, falling to nearly 0 in a few worn patches."""
    if rng.random() < 0.7:
        return np.ones(shape, np.float32)
    noise = smooth_noise(shape, rng.uniform(8, 25), rng)
    return np.clip((noise + np.float32(rng.uniform(1.6, 2.8))) * np.float32(1.5), 0.1, 1)


def _rim(area: Field, lines: Field, rng: np.random.Generator) -> Field:
    """Dark lines: those inside the sign, and its outline where the cut is deepest."""
    outline = np.clip(4 * area * (1 - blur(area, rng.uniform(1.5, 4.0))), 0, 1)
    return np.maximum(outline * np.float32(rng.uniform(0.2, 1.0)), lines * np.float32(rng.uniform(0.1, 1.0)))


def _shading(depth: Field, rng: np.random.Generator) -> Field:
    """Light falling at a slant on the walls of the cut: bright facing it, dark turned away."""
    soft = blur(depth, rng.uniform(0.8, 2.2))
    down, across = np.gradient(soft)
    angle = rng.uniform(0, 2 * np.pi)
    strength = rng.uniform(30, 240)
    shaded = strength * (np.cos(angle) * across + np.sin(angle) * down)
    return np.asarray(np.clip(shaded, -90, 60), np.float32)


def cracks(shape: tuple[int, ...], rng: np.random.Generator) -> Field:
    """Now and then a crack: a wandering dark line across the piece."""
    field = np.zeros(shape, np.float32)
    if rng.random() > 0.2:
        return field
    height, width = shape
    steps = 3 * height
    angle = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.12, steps))
    y = rng.uniform(0, height) + np.cumsum(np.sin(angle)) * 0.7
    x = rng.uniform(0, width) + np.cumsum(np.cos(angle)) * 0.7
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    field[y[inside].astype(int), x[inside].astype(int)] = -1
    return blur(field, 0.8) * np.float32(rng.uniform(40, 160))
