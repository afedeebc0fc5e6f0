"""Where on a plate, of which not every sign is boxed, there is certainly none: on bare stone.

Bare means that clearly fewer of its pixels are edges than on nearly any boxed sign of the same plate.
"""

import numpy as np
from numpy.typing import NDArray

from fleetctl.models.detector.geometry import Boxes
from fleetctl.models.detector.scenes import Scene

_SIGMA = 1.5  # pixels: grain is smoothed away before edges are looked for
_REACH = 5  # pixels, where the blur's weight has fallen below 1 %
_STRONG = 0.75  # quantile of the gradients within boxes from which a pixel is an edge
_BUSY = 0.02  # quantile of the boxes' shares of edges
_BARE = 0.7  # times that share is the most that bare stone has


class BareStone:
    """Tells of any box on one plate whether it frames nothing but bare stone."""

    def __init__(self, scene: Scene) -> None:
        gradients = _gradients(scene)
        self._size = scene.image.shape
        boxed = np.zeros(self._size, bool)
        for x0, y0, x1, y1 in scene.boxes.astype(int):
            boxed[y0:y1, x0:x1] = True
        strong = float(np.quantile(gradients[boxed], _STRONG)) if boxed.any() else float(gradients.max())
        self._table = _summed(gradients > strong)
        shares = self.share(scene.boxes) if len(scene.boxes) else np.zeros(1)
        self._limit = _BARE * float(np.quantile(shares, _BUSY))

    def share(self, boxes: Boxes) -> NDArray[np.float64]:
        """The share of each box's pixels that are edges, (n,); 0 of a box outside the plate."""
        height, width = self._size
        x0, x1 = (np.clip(np.rint(boxes[:, i]), 0, width).astype(int) for i in (0, 2))
        y0, y1 = (np.clip(np.rint(boxes[:, i]), 0, height).astype(int) for i in (1, 3))
        table = self._table
        total = table[y1, x1] - table[y0, x1] - table[y1, x0] + table[y0, x0]
        return np.asarray(total / np.maximum((x1 - x0) * (y1 - y0), 1))

    def is_bare(self, boxes: Boxes) -> NDArray[np.bool_]:
        """Whether each box frames bare stone, (n,)."""
        return np.asarray(self.share(boxes) < self._limit)


def _gradients(scene: Scene) -> NDArray[np.float32]:
    down, across = np.gradient(_blurred(_blurred(scene.image.astype(np.float32)).T).T)
    return np.asarray(np.hypot(down, across), np.float32)


def _blurred(field: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gaussian blur along the rows, edges repeated, tap by tap: plates may have many megapixels."""
    reach = np.arange(-_REACH, _REACH + 1)
    weights = np.exp(-0.5 * (reach / _SIGMA) ** 2)
    padded = np.pad(field, ((0, 0), (_REACH, _REACH)), mode="edge")
    width = field.shape[1]
    taps = (w * padded[:, i : i + width] for i, w in enumerate((weights / weights.sum()).astype(np.float32)))
    return np.asarray(sum(taps), np.float32)


def _summed(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Summed-area table with a row and a column of zeros before it."""
    return np.pad(mask.astype(np.int64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
