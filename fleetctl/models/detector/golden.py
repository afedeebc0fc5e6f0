"""Choosing the golden scenes of a detector: pieces of walls whose signs a healthy board cannot miss."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from fleetctl.artifact import GOLDEN_DETECTIONS, GoldenDetection, GoldenScene
from fleetctl.device import scenes as board_scenes
from fleetctl.device.boxes import tiles
from fleetctl.errors import BuildError
from fleetctl.models.detector.inference import Detection, Detector
from fleetctl.models.detector.scenes import Scene
from fleetctl.models.progress import Progress, silent

PIECE = 160  # pixels of a side: a few signs each, so that one that is hard to read spoils few others
_CANDIDATES = 200


class GoldenScenes(Struct, frozen=True):
    """`samples` uint8 (K, H, W), grey, before preprocessing, and what the model finds on each.

    `shared` of them were answered alike by every model that was asked; the others are the next best.
    """

    samples: NDArray[np.uint8]
    answers: tuple[GoldenScene, ...]
    shared: int


def choose(
    scenes: Sequence[Scene],
    detectors: Sequence[Detector],
    *,
    count: int,
    tolerance: float,
    progress: Progress = silent,
) -> GoldenScenes:
    """Up to `count` pieces of the scenes, those with most signs first; answers are the first detector's.

    A piece is fit where all detectors (of one network: int8 and float32, say) agree on it by the very rule
    that boards are judged by (`fleetctl.device.scenes`). The answers are as a board tells them.
    `progress` hears stage `golden`.

    Args:
        tolerance: `score_tolerance` of the contract.

    Raises:
        BuildError: no scene has a piece on which anything is found.
    """
    pieces = _pieces(scenes)
    found = []
    for number, piece in enumerate(pieces, start=1):
        found.append([detector.detect(piece) for detector in detectors])
        progress("golden", number, len(pieces))
    differences = [_differences(answers, detectors[0], tolerance) for answers in found]
    ranked = sorted(range(len(pieces)), key=lambda i: (differences[i], -len(found[i][0])))
    chosen: list[int] = []
    for i in ranked:
        held = sum(len(found[k][0]) for k in chosen) + len(found[i][0])
        if found[i][0] and len(chosen) < count and held <= GOLDEN_DETECTIONS:
            chosen.append(i)
    if not chosen:
        raise BuildError(
            "the detector finds nothing on any piece of the walls kept out of training",
            hint="let it learn longer: raise `training.epochs`, or `walls` of the dataset",
        )
    chosen.sort()
    return GoldenScenes(
        np.stack([pieces[i] for i in chosen]),
        tuple(_answer(found[i][0]) for i in chosen),
        sum(1 for i in chosen if not differences[i]),
    )


def _pieces(scenes: Sequence[Scene]) -> list[NDArray[np.uint8]]:
    """Pieces of one size, the commonest: golden ones travel as one array, and a small photo gives smaller."""
    pieces = [
        scene.image[top : top + PIECE, left : left + PIECE]
        for scene in scenes
        for top, left in tiles(scene.image.shape[0], scene.image.shape[1], PIECE, PIECE, 0)
    ]
    sizes = Counter(piece.shape for piece in pieces)
    common = max(sizes, key=lambda size: (sizes[size], size), default=())
    alike = [piece for piece in pieces if piece.shape == common]
    return alike[:: max(1, -(-len(alike) // _CANDIDATES))]


def _differences(found: Sequence[Sequence[Detection]], detector: Detector, tolerance: float) -> int:
    """How many detections the other detectors lack, or have beyond the first one's."""
    terms = detector.terms(tolerance)
    first, *others = [[board_scenes.Detection(d.sign, d.score, d.box) for d in answer] for answer in found]
    return sum(
        len(missing) + len(extra)
        for missing, extra in (board_scenes.unaccounted(first, other, terms) for other in others)
    )


def _answer(found: Sequence[Detection]) -> GoldenScene:
    return tuple(GoldenDetection(one.sign, one.score, one.box) for one in found)
