"""Boxes as float32 (n, 4) arrays of x0, y0, x1, y1 in pixels: how they overlap, how anchors tell them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]


def iou(first: Boxes, second: Boxes) -> NDArray[np.float32]:
    """Intersection over union of each box of `first` with each of `second`: float32 (n, m)."""
    shared = overlaps(first, second)
    union = areas(first)[:, None] + areas(second)[None, :] - shared
    return np.asarray(shared / np.maximum(union, 1e-6), np.float32)


def overlaps(first: Boxes, second: Boxes) -> NDArray[np.float32]:
    """Shared area of each box of `first` with each of `second`: square pixels, float32 (n, m)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.clip(high - low, 0, None)
    return np.asarray(sides[..., 0] * sides[..., 1], np.float32)


def areas(boxes: Boxes) -> NDArray[np.float32]:
    """Square pixels, float32 (n,)."""
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), np.float32)


def corners(anchors: NDArray[np.float32]) -> Boxes:
    """Anchors, (n, 4) as centre y, centre x, height, width, as boxes."""
    centre, half = anchors[:, 1::-1], anchors[:, :1:-1] / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def encode(boxes: Boxes, anchors: NDArray[np.float32], scales: Sequence[float]) -> NDArray[np.float32]:
    """What `fleetctl.device.boxes.decode` makes these boxes of, relative to anchors: float32 (n, 4).

    The coding of SSD (Liu et al. 2016, section 2.2), each of dy, dx, dh, dw multiplied by its scale.

    Args:
        boxes: (n, 4), each with an area.
        anchors: (n, 4) as centre y, centre x, height, width.
    """
    centres = (boxes[:, 1::-1] + boxes[:, :1:-1]) / 2
    sizes = boxes[:, :1:-1] - boxes[:, 1::-1]
    offsets = [(centres - anchors[:, :2]) / anchors[:, 2:], np.log(sizes / anchors[:, 2:])]
    return np.asarray(np.concatenate(offsets, axis=1) * np.asarray(scales), np.float32)
