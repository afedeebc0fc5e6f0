"""What a detector should answer on a tile: for each anchor a sign, background, or nobody knows."""

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from fleetctl.models.detector.geometry import Boxes, areas, corners, encode, iou, overlaps

BACKGROUND = -1
UNKNOWN_SIGN = -2  # a sign, but which one is not known
IGNORED = -3

_POSITIVE = 0.5  # IoU of an anchor with a box
_NEGATIVE = 0.4
_RESCUED = 0.25  # IoU that the best anchor of a box needs, where none reaches `_POSITIVE`
_TOLD = 0.6  # fraction of a sign that a tile must show for it to be asked for
_HINTED = 0.25  # fraction from which it is not called background either


class Targets(Struct, frozen=True):
    """For N anchors: int32 (N,) index of a label, or one of the constants above; float32 (N, 4) offsets."""

    classes: NDArray[np.int32]
    offsets: NDArray[np.float32]


def assign(
    boxes: Boxes,
    classes: NDArray[np.int32],
    background: NDArray[np.bool_],
    anchors: NDArray[np.float32],
    scales: Sequence[float],
    size: tuple[int, int],
) -> Targets:
    """Tell each anchor of a tile what it should answer.

    Args:
        boxes: signs in pixels of the tile; they may hang over its edges.
        classes: int32 (n,), index of each box's label, or `UNKNOWN_SIGN`.
        background: (N,), anchors that see nothing but background wherever no box says otherwise.
        anchors: (N, 4) as `fleetctl.device.boxes.anchors` gives them.
        size: the tile's height and width.
    """
    answer = np.where(background, BACKGROUND, IGNORED).astype(np.int32)
    offsets = np.zeros((len(anchors), 4), np.float32)
    clipped = np.clip(boxes, 0, np.array([size[1], size[0]] * 2, np.float32))
    shown = areas(clipped) / np.maximum(areas(boxes), 1e-6)
    seen = shown >= _HINTED
    if not seen.any():
        return Targets(answer, offsets)
    clipped, classes, told = clipped[seen], classes[seen], shown[seen] >= _TOLD
    likeness = iou(corners(anchors), clipped)
    best = likeness.max(axis=1)
    nearest = likeness.argmax(axis=1)
    answer[best >= _NEGATIVE] = IGNORED
    positive = best >= _POSITIVE
    for box in np.flatnonzero(likeness.max(axis=0) < _POSITIVE):
        rescuer = int(likeness[:, box].argmax())
        if likeness[rescuer, box] >= _RESCUED:
            positive[rescuer], nearest[rescuer] = True, box
    answer[positive] = np.where(told[nearest], classes[nearest], IGNORED)[positive]
    offsets[positive] = encode(clipped[nearest[positive]], anchors[positive], scales)
    return Targets(answer, offsets)


def covered(anchors: Boxes, boxes: Boxes) -> NDArray[np.float32]:
    """Share of each anchor (as corners) that boxes lie on, those that overlap counted twice: (N,)."""
    if not len(boxes):
        return np.zeros(len(anchors), np.float32)
    return np.asarray(overlaps(anchors, boxes).sum(axis=1) / np.maximum(areas(anchors), 1e-6), np.float32)


def label_indices(signs: Sequence[str], index: Mapping[str, int]) -> NDArray[np.int32]:
    """Index of each sign's label, `UNKNOWN_SIGN` where it is none of them: int32 (n,)."""
    return np.array([index.get(sign, UNKNOWN_SIGN) for sign in signs], np.int32).reshape(-1)
