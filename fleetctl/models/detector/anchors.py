"""Which anchors a detector has: the sizes that signs on its walls come in."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetctl.manifest.buildable import TILE_OVERLAP
from fleetctl.models.detector.geometry import Boxes
from fleetctl.models.detector.scenes import Scene

STRIDE = 16  # input pixels from cell to cell of the one feature map: no two signs' centres lie closer
COUNT = 6  # anchors of a cell

_ROUNDS = 100
_QUICK = 4000  # boxes suffice to find the sizes


def sizes(scenes: Sequence[Scene], *, count: int = COUNT, seed: int = 0) -> list[list[int]]:
    """Heights and widths, whole pixels, by rising area, such that some anchor resembles each box.

    Means of clusters whose distance is 1 - IoU of two boxes with one centre (Redmon and Farhadi, YOLO9000,
    2017, section 2).
    """
    boxes = np.concatenate([scene.boxes for scene in scenes])
    extents = np.stack([boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]], axis=1)
    rng = np.random.default_rng(seed)
    extents = extents[rng.permutation(len(extents))[:_QUICK]]
    centres = extents[rng.choice(len(extents), count, replace=len(extents) < count)]
    for _ in range(_ROUNDS):
        nearest = _likeness(extents, centres).argmax(axis=1)
        moved = np.array(
            [extents[nearest == i].mean(axis=0) if (nearest == i).any() else centres[i] for i in range(count)]
        )
        if np.allclose(moved, centres):
            break
        centres = moved
    order = np.argsort(centres.prod(axis=1), kind="stable")
    return [[max(1, round(float(side))) for side in centres[i]] for i in order]


def specification(scenes: Sequence[Scene], *, seed: int = 0) -> dict[str, Any]:
    """`contract["detection"]` of a detector that learns these scenes, see `fleetctl.device.boxes`."""
    return {
        "maps": [{"stride": STRIDE, "anchors": sizes(scenes, seed=seed)}],
        "scales": [10, 10, 5, 5],
        "min_score": 0.5,
        "max_iou": 0.5,
        "most": 1000,
        "overlap": TILE_OVERLAP,
    }


def _likeness(extents: NDArray[np.float32], centres: NDArray[np.float32]) -> Boxes:
    """IoU of boxes of these heights and widths about one centre: (n, count)."""
    shared = np.minimum(extents[:, None, :], centres[None, :, :]).prod(axis=2)
    return np.asarray(
        shared / (extents.prod(axis=1)[:, None] + centres.prod(axis=1)[None] - shared), np.float32
    )
