"""Walls with the signs that are known to be on them, as every later step of the detector takes them."""

from collections import Counter

import numpy as np
from msgspec import Struct

from fleetctl.models.detector.geometry import Boxes
from fleetctl.models.gardiner import UNKNOWN
from fleetctl.models.samples import Grey


class Scene(Struct, frozen=True):
    """A picture of a wall: grey uint8 (H, W), boxes float32 (n, 4) as x0, y0, x1, y1, and each box's sign.

    A sign is `UNKNOWN` where only its place is known. `complete` says that every sign is boxed: what no box
    covers is then background, otherwise it is anybody's guess.
    """

    name: str
    image: Grey
    boxes: Boxes
    signs: tuple[str, ...]
    complete: bool


class Scenes(Struct, frozen=True):
    """What a detector learns from, and what it never sees until it is measured."""

    train: tuple[Scene, ...]
    evaluation: tuple[Scene, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The signs there are to learn, sorted."""
        return tuple(sorted(sign_counts(self.train)))


def sign_counts(scenes: tuple[Scene, ...]) -> Counter[str]:
    """How many boxes each sign has; those of unknown signs are left out."""
    return Counter(sign for scene in scenes for sign in scene.signs if sign != UNKNOWN)


def no_boxes() -> Boxes:
    return np.zeros((0, 4), np.float32)
