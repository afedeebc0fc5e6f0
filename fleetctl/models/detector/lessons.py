"""Tiles cut out of scenes at random for a detector to learn from, with the answers it should give."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from fleetctl.device import boxes as device_boxes
from fleetctl.device.preprocess import prepare
from fleetctl.models.detector.background import BareStone
from fleetctl.models.detector.geometry import Boxes, corners, iou
from fleetctl.models.detector.scenes import Scene
from fleetctl.models.detector.targets import Targets, assign, covered, label_indices
from fleetctl.models.samples import Grey

_REAL_SHARE = 0.5  # of the tiles come from photographed plates, where there are any
_ZOOM = 1.3  # the most that a tile is enlarged or shrunk
_STRETCH = 0.06  # standard deviation of the logarithm of the sides' ratio
_GAMMA = 0.2  # standard deviation of its logarithm
_SLOPE = 0.1  # of the light across the tile
_NOISE = 4.0  # grey levels, the most
_COVERED = 0.75  # of an anchor lies on boxes: nothing unknown is in it
_SAME = 0.5  # IoU from which two boxes contradict each other


class Batch(Struct, frozen=True):
    """B tiles: pixels uint8 (B, H, W, C), and `Targets`: int32 (B, N), float32 (B, N, 4)."""

    pixels: NDArray[np.uint8]
    classes: NDArray[np.int32]
    offsets: NDArray[np.float32]


class _Site(Struct, frozen=True):
    image: Grey
    boxes: Boxes
    classes: NDArray[np.int32]
    bare: BareStone | None  # None: what is not boxed is background


class Lessons:
    """Batch number `step` is a function of the scenes, the seed and the step."""

    def __init__(
        self,
        scenes: Sequence[Scene],
        labels: Sequence[str],
        preprocess: Mapping[str, Any],
        detection: Mapping[str, Any],
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        index = {label: number for number, label in enumerate(labels)}
        self._composed = [_site(scene, index) for scene in scenes if scene.complete]
        self._real = [_site(scene, index) for scene in scenes if not scene.complete]
        self._preprocess = preprocess
        self._size = int(preprocess["shape"][0]), int(preprocess["shape"][1])
        self._scales = detection["scales"]
        self._anchors = device_boxes.anchors(detection, *self._size)
        self._batch_size = batch_size
        self._seed = seed

    def batch(self, step: int) -> Batch:
        rng = np.random.default_rng([self._seed, step])
        tiles = [self._tile(rng) for _ in range(self._batch_size)]
        return Batch(
            np.stack([pixels for pixels, _ in tiles]),
            np.stack([targets.classes for _, targets in tiles]),
            np.stack([targets.offsets for _, targets in tiles]),
        )

    def _tile(self, rng: np.random.Generator) -> tuple[Grey, Targets]:
        real = self._real and (not self._composed or rng.random() < _REAL_SHARE)
        sites = self._real if real else self._composed
        site = sites[int(rng.integers(len(sites)))]
        frame = _frame(site.image.shape, self._size, rng)
        pixels = prepare(_relit(_cut(site.image, frame, self._size), rng), self._preprocess)
        zoom = np.array([self._size[1], self._size[0]] * 2) / np.tile(frame[2:] - frame[:2], 2)
        boxes = np.asarray((site.boxes - np.tile(frame[:2], 2)) * zoom, np.float32)
        background = np.ones(len(self._anchors), bool)
        if site.bare is not None:
            background = self._certain(site.bare, boxes, frame, zoom)
        targets = assign(boxes, site.classes, background, self._anchors, self._scales, self._size)
        return pixels, targets

    def _certain(
        self, bare: BareStone, boxes: Boxes, frame: NDArray[np.float64], zoom: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Which anchors can hold no sign but boxed ones: those on bare stone, and those that boxes cover."""
        height, width = self._size
        visible = np.clip(corners(self._anchors), 0, np.array([width, height] * 2, np.float32))
        on_the_plate = np.asarray(visible / zoom + np.tile(frame[:2], 2), np.float32)
        return bare.is_bare(on_the_plate) | (covered(visible, boxes) >= _COVERED)


def _site(scene: Scene, index: Mapping[str, int]) -> _Site:
    kept = np.ones(len(scene.boxes), bool) if scene.complete else consistent(scene.boxes)
    signs = [sign for sign, keep in zip(scene.signs, kept, strict=True) if keep]
    bare = None if scene.complete else BareStone(scene)
    return _Site(scene.image, scene.boxes[kept], label_indices(signs, index), bare)


def consistent(boxes: Boxes) -> NDArray[np.bool_]:
    """Which boxes no other one contradicts by lying on nearly the same place, (n,)."""
    likeness = iou(boxes, boxes)
    np.fill_diagonal(likeness, 0)
    return np.asarray(likeness.max(axis=1, initial=0) <= _SAME)


def _frame(image: tuple[int, ...], size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """What a tile shows of an image: x0, y0, x1, y1, within it."""
    shrink = np.exp(rng.uniform(-np.log(_ZOOM), np.log(_ZOOM)))
    stretch = np.exp(rng.normal(0, _STRETCH) / 2)
    height = min(image[0], size[0] * shrink * stretch)
    width = min(image[1], size[1] * shrink / stretch)
    top, left = rng.uniform(0, image[0] - height), rng.uniform(0, image[1] - width)
    return np.array([left, top, left + width, top + height])


def _cut(image: Grey, frame: NDArray[np.float64], size: tuple[int, int]) -> Grey:
    from PIL import Image

    left, top = (int(edge) for edge in np.floor(frame[:2]))
    right, bottom = (int(edge) for edge in np.ceil(frame[2:]))
    piece = Image.fromarray(image[top:bottom, left:right])
    x0, y0, x1, y1 = (float(edge) for edge in frame - np.tile([left, top], 2))
    inside = (x0, y0, min(x1, piece.width), min(y1, piece.height))
    return np.asarray(piece.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=inside))


def _relit(tile: Grey, rng: np.random.Generator) -> Grey:
    """Gamma, light that falls off across the tile, and noise."""
    height, width = tile.shape
    grey = (tile / np.float32(255)) ** np.float32(np.exp(rng.normal(0, _GAMMA)))
    down, across = rng.normal(0, _SLOPE, 2)
    slope = np.linspace(-down, down, height)[:, None] + np.linspace(-across, across, width)[None, :]
    lit = 255 * grey * np.exp(np.asarray(slope, np.float32))
    noisy = lit + rng.uniform(0, _NOISE) * rng.standard_normal(tile.shape, dtype=np.float32)
    return np.asarray(np.clip(np.rint(noisy), 0, 255), np.uint8)
