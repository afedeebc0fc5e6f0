"""The one path from a photo to a network's input, the same file on the build host and on every board.

Everything is done in whole numbers (or in float64 that holds whole numbers exactly), so a board gives the
very bytes that training saw, whatever its processor and its BLAS. Python 3.7 and numpy 1.16 suffice.

A preprocess specification is plain JSON:

    {"shape": [96, 64, 1],                     height, width, channels (1 or 3: grey, repeated)
     "fit": "contain",                         or "cover": fill the frame and crop what hangs over
     "lighting": {"window": 0,                 pixels; over 0: each pixel against the mean around it
                  "low": 10, "high": 990,      permille of the pixels that become black and white
                  "min_range": 24},            grey levels: noise on a blank stone is not stretched further
     "smooth": 1}                              passes of a 3x3 binomial filter

The real values a network takes are the prepared pixels themselves, 0 to 255: whatever scaling it was trained
with is folded into its first layer, so there is no normalisation that a board could get wrong.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:  # numpy.typing is newer than the numpy of some boards
    from typing import Any, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Grey = NDArray[np.uint8]

_WEIGHT_BITS = 12  # two passes of weights over 8-bit pixels stay below 2**33: exact in float64
_STRIP = 1 << 17  # pixels


def prepare(image: Grey, spec: Mapping[str, Any]) -> Grey:
    """Grey, resize, fit, even out the light, smooth.

    Args:
        image: uint8 (H, W) or (H, W, 3), any size from 1x1.
        spec: a preprocess specification (see the module).

    Returns:
        uint8 array of shape `spec["shape"]`.

    Raises:
        ValueError: `image` is no such array, or `spec["fit"]` is unknown.
    """
    height, width, channels = (int(n) for n in spec["shape"])
    grey = _fit(to_grey(image), height, width, str(spec.get("fit", "contain")))
    lighting = spec.get("lighting")
    if lighting:
        grey = _even_light(grey, lighting)
    for _ in range(int(spec.get("smooth", 0))):
        grey = _smooth(grey)
    deep = grey[:, :, np.newaxis]
    return deep if channels == 1 else np.repeat(deep, channels, axis=2)


def to_input(prepared: Grey, contract_input: Mapping[str, Any]) -> NDArray[Any]:
    """The network's input tensor, of the contract's dtype and shape (1, H, W, C).

    Args:
        prepared: what `prepare` gave; its values are the real values of the input.
        contract_input: `contract["input"]`: shape, dtype, scale and zero_point;
            `real = scale * (stored - zero_point)`, and scale 0 means that the real values go in as they are.
    """
    table = _stored_values(
        str(contract_input["dtype"]), float(contract_input["scale"]), int(contract_input["zero_point"])
    )
    return table.take(prepared).reshape(tuple(int(n) for n in contract_input["shape"]))


@lru_cache(maxsize=2)
def _stored_values(dtype: str, scale: float, zero_point: int) -> NDArray[Any]:
    """What stands for each value of a pixel in the input."""
    values = np.arange(256, dtype=np.float64)
    if scale > 0.0:
        limits = np.iinfo(np.dtype(dtype))
        values = np.clip(np.rint(values / scale) + zero_point, limits.min, limits.max)
    return values.astype(dtype)


def from_output(raw: NDArray[Any], contract_output: Mapping[str, Any]) -> NDArray[np.float32]:
    """The output tensor as real scores, float32 (N,), in the order of the contract's labels."""
    values = np.asarray(raw).reshape(-1).astype(np.float32)
    scale = float(contract_output["scale"])
    if scale > 0.0:
        values = (values - np.float32(int(contract_output["zero_point"]))) * np.float32(scale)
    return values


def to_grey(image: Grey) -> Grey:
    """Luma after ITU-R BT.601, rounded, as uint8 (H, W); a grey image is returned as it is."""
    if image.dtype != np.uint8 or image.size == 0:
        raise ValueError("an image must be a non-empty array of uint8")
    if image.ndim == 2:
        return image
    if image.ndim == 3 and image.shape[2] == 3:
        luma = np.empty(image.shape[:2], np.uint8)
        for rows in _strips(image.shape):
            wide = image[rows].astype(np.int32)
            luma[rows] = (299 * wide[:, :, 0] + 587 * wide[:, :, 1] + 114 * wide[:, :, 2] + 500) // 1000
        return luma
    raise ValueError("an image must have shape (H, W) or (H, W, 3), not %s" % (image.shape,))


def resize(grey: Grey, height: int, width: int) -> Grey:
    """Resample with a triangle filter: bilinear when enlarging, an area average when shrinking. Bit-exact."""
    if grey.shape == (height, width):
        return grey
    rows = _weights(grey.shape[0], height)
    columns = _weights(grey.shape[1], width)
    narrow = np.empty((grey.shape[0], width))
    for strip in _strips(grey.shape):
        np.matmul(grey[strip].astype(np.float64), columns.T, out=narrow[strip])
    total = rows @ narrow
    total += float(1 << (2 * _WEIGHT_BITS - 1))
    total /= float(1 << (2 * _WEIGHT_BITS))
    return total.astype(np.uint8)  # towards zero, which is down


def _strips(shape: Sequence[int]) -> Iterator[slice]:
    """The rows of an image, so many at a time that what is made of them never takes much memory."""
    step = max(1, _STRIP // shape[1])
    return (slice(top, top + step) for top in range(0, shape[0], step))


@lru_cache(maxsize=8)  # photos come in one size; those of a camera take megabytes each
def _weights(source: int, target: int) -> NDArray[np.float64]:
    """Whole-number weights (target, source) as float64; each row sums to 2**12.

    The triangle's height at input j for output i is `reach - |(2i+1) source - (2j+1) target|`, in units of
    half an output pixel, which keeps the whole computation in integers.
    """
    centres = (2 * np.arange(target, dtype=np.int64) + 1) * source
    places = (2 * np.arange(source, dtype=np.int64) + 1) * target
    reach = 2 * max(source, target)
    heights = np.maximum(reach - np.abs(centres[:, np.newaxis] - places[np.newaxis, :]), 0)
    weights = (heights << _WEIGHT_BITS) // heights.sum(axis=1, keepdims=True)
    missing = (1 << _WEIGHT_BITS) - weights.sum(axis=1)
    weights[np.arange(target), weights.argmax(axis=1)] += missing
    return np.asarray(weights, np.float64)


def _fit(grey: Grey, height: int, width: int, fit: str) -> Grey:
    """Scale without distortion, then pad with the edge's values (contain) or crop the middle (cover)."""
    if fit not in ("contain", "cover"):
        raise ValueError("fit must be contain or cover, not %s" % fit)
    rows, columns = grey.shape
    by_height = (height * columns < width * rows) == (fit == "contain")
    if by_height:
        scaled = (height, max(1, (2 * columns * height + rows) // (2 * rows)))
    else:
        scaled = (max(1, (2 * rows * width + columns) // (2 * columns)), width)
    return _centre(resize(grey, *scaled), height, width)


def _centre(grey: Grey, height: int, width: int) -> Grey:
    top = max(0, (grey.shape[0] - height) // 2)
    left = max(0, (grey.shape[1] - width) // 2)
    cut = grey[top : top + height, left : left + width]
    above = (height - cut.shape[0]) // 2
    before = (width - cut.shape[1]) // 2
    below = height - cut.shape[0] - above
    after = width - cut.shape[1] - before
    return _pad(cut, (above, below), (before, after))


def _pad(image: NDArray[Any], rows: tuple[int, int], columns: tuple[int, int]) -> NDArray[Any]:
    """Repeat the edges so many times; `np.pad` takes five times as long for a small picture."""
    height, width = image.shape
    (above, below), (before, after) = rows, columns
    padded = np.empty((above + height + below, before + width + after), image.dtype)
    padded[above : above + height, before : before + width] = image
    padded[:above, before : before + width] = image[0]
    padded[above + height :, before : before + width] = image[-1]
    padded[:, :before] = padded[:, before : before + 1]
    padded[:, before + width :] = padded[:, before + width - 1 : before + width]
    return padded


def _even_light(grey: Grey, lighting: Mapping[str, Any]) -> Grey:
    """Stretch the levels between two quantiles to 0..255, against the local mean if a window is given."""
    levels = grey
    window = int(lighting.get("window", 0))
    if window:
        wide = grey.astype(np.int32)
        levels = np.clip(wide - _local_mean(wide, window) + 128, 0, 255).astype(np.uint8)
    low, high = _quantiles(levels, int(lighting["low"]), int(lighting["high"]))
    wanted = int(lighting["min_range"])
    if high - low < wanted:  # widen around the middle: blank stone stays blank
        low -= (wanted - (high - low)) // 2
        high = low + wanted
    span = high - low
    stretched = ((np.arange(256) - low) * 510 + span) // (2 * span)
    return np.clip(stretched, 0, 255).astype(np.uint8).take(levels)


def _quantiles(levels: Grey, low: int, high: int) -> tuple[int, int]:
    cumulated = np.cumsum(np.bincount(levels.ravel(), minlength=256)) * 1000
    first = int(np.searchsorted(cumulated, low * levels.size, side="left"))
    last = int(np.searchsorted(cumulated, high * levels.size, side="left"))
    return first, last


def _local_mean(levels: NDArray[np.int32], window: int) -> NDArray[np.int32]:
    """Mean over a (2 window + 1) square, edges repeated, by a summed-area table."""
    side = 2 * window + 1
    padded = _pad(levels, (window, window), (window, window)).astype(np.int64)
    table = np.pad(padded.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)), mode="constant")
    total = table[side:, side:] - table[:-side, side:] - table[side:, :-side] + table[:-side, :-side]
    return np.asarray((2 * total + side * side) // (2 * side * side), np.int32)


def _smooth(grey: Grey) -> Grey:
    """One pass of the 3x3 binomial filter (1 2 1), edges repeated, rounded."""
    wide = _pad(grey.astype(np.uint16), (1, 1), (1, 1))
    total = _neighbours(_neighbours(wide).T).T
    return ((total + 8) >> 4).astype(np.uint8)


def _neighbours(rows: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Each row with its neighbours, weighted 1 2 1: the sums of pairs, twice."""
    pairs: NDArray[np.uint16] = rows[:-1] + rows[1:]
    return np.add(pairs[:-1], pairs[1:])
