"""Two small walls of noise for a detector to learn: what training needs, not what it is for."""

import numpy as np

from fleetctl.models.detector.scenes import Scene, Scenes

SIGNS = ("G17", "N35", "X1")


def walls_of_blocks() -> Scenes:
    """A composed wall and a plate of 448x448, three signs each; they are measured on what they learnt."""
    scenes = (_scene("composed", True), _scene("plate 1", False))
    return Scenes(scenes, scenes)


def _scene(name: str, complete: bool) -> Scene:
    rng = np.random.default_rng(0)
    image = rng.integers(180, 200, (448, 448), dtype=np.uint8)
    boxes = np.array([[20, 20, 90, 90], [150, 40, 230, 70], [300, 300, 340, 330]], np.float32)
    for x0, y0, x1, y1 in boxes.astype(int):
        image[y0:y1, x0:x1] = rng.integers(0, 255, (y1 - y0, x1 - x0))
    return Scene(name, image, boxes, SIGNS, complete)
