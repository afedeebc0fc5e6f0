"""How well a detector finds and reads the signs of scenes that it never saw.

A detection finds a box where their IoU is at least 0.5, whatever sign it is taken for; the best scores choose
first, and each box is found once. Of what finds no box,

* *wrong* is what finds a box again, what lies by three quarters on boxes (a part of a sign), what frames bare
  stone (see `background`), and anything on a scene whose every sign is boxed;
* *unjudged* is the rest: on plates not every sign is boxed, and nobody has said what is there.

Recall is found boxes among boxes, precision found boxes among found and wrong. Average precision follows
Everingham et al. (PASCAL VOC, IJCV 2010) with the area under the whole curve: of one sign, over detections
read as that sign; what is unjudged, or finds a box of an unknown sign, counts neither way. The mean is over
the signs that the scenes have boxes of, signs never taught included.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from fleetctl.errors import BuildError
from fleetctl.models.detector.background import BareStone
from fleetctl.models.detector.geometry import Boxes, iou
from fleetctl.models.detector.inference import Detection, Detector, Reader
from fleetctl.models.detector.scenes import Scene
from fleetctl.models.detector.targets import covered
from fleetctl.models.gardiner import UNKNOWN
from fleetctl.models.progress import Progress, silent

IOU = 0.5
FAINT = 0.05  # score down to which detections are looked at for average precision

_COVERED = 0.75


class SignResult(Struct, frozen=True):
    """Of one sign: how many boxes there are, how many were found, and how many of those read rightly."""

    n: int
    found: int
    read: int
    average_precision: float


class DetectionEvaluation(Struct, frozen=True):
    """How a detector did, at the contract's `min_score`; the terms are the module's.

    `n` boxes, of which `found`; `wrong` and `unjudged` detections beside them. `named` of the found boxes
    have a known sign, and `read` of those were given it. `map50` looks at all scores from `FAINT` on.
    """

    n: int
    found: int
    wrong: int
    unjudged: int
    named: int
    read: int
    map50: float
    per_class: Mapping[str, SignResult]

    @property
    def recall(self) -> float:
        return self.found / self.n

    @property
    def precision(self) -> float:
        return self.found / max(1, self.found + self.wrong)

    @property
    def reading(self) -> float:
        """The share of found boxes of known signs that were given the right sign."""
        return self.read / max(1, self.named)


class Judged(Struct, frozen=True):
    """The detections of one scene, by falling score: `box[i]` is the index of the box that i finds, -1 where
    it is wrong and -2 where nobody knows.
    """

    scene: Scene
    found: tuple[Detection, ...]
    box: NDArray[np.int32]


_WRONG, _UNJUDGED = -1, -2


def measure(
    detector: Detector,
    scenes: Sequence[Scene],
    *,
    reader: Reader | None = None,
    progress: Progress = silent,
) -> DetectionEvaluation:
    """Measure a detector; with a reader, the signs are what the reader makes of the detector's boxes.

    `progress` hears stage `evaluate` after each tile.

    Raises:
        BuildError: the scenes have no box.
    """
    total, done = sum(detector.tile_count(scene.image) for scene in scenes), 0

    def tile() -> None:
        nonlocal done
        done += 1
        progress("evaluate", done, total)

    judged = []
    for scene in scenes:
        found = detector.detect(scene.image, min_score=FAINT, tile=tile)
        judged.append(judge(scene, reader.read(scene.image, found) if reader else found))
    return summarize(judged, detector.min_score)


def judge(scene: Scene, found: Sequence[Detection]) -> Judged:
    """Say of each detection which box it finds, if any."""
    ordered = tuple(sorted(found, key=lambda one: -one.score))
    boxes = np.array([one.box for one in ordered], np.float32).reshape(-1, 4)
    likeness = iou(boxes, scene.boxes)
    match = np.full(len(ordered), _WRONG, np.int32)
    free = np.ones(len(scene.boxes), bool)
    for i in range(len(ordered)):
        candidates = np.where(free, likeness[i], 0)
        if len(candidates) and candidates.max() >= IOU:
            match[i] = int(candidates.argmax())
            free[match[i]] = False
    if not scene.complete:
        certain = (likeness >= IOU).any(axis=1) | _certainly_wrong(scene, boxes)
        match[(match == _WRONG) & ~certain] = _UNJUDGED
    return Judged(scene, ordered, match)


def _certainly_wrong(scene: Scene, boxes: Boxes) -> NDArray[np.bool_]:
    """Which boxes can be no sign that merely was not boxed, (n,)."""
    return (covered(boxes, scene.boxes) >= _COVERED) | BareStone(scene).is_bare(boxes)


def summarize(judged: Sequence[Judged], min_score: float) -> DetectionEvaluation:
    """Count over all scenes.

    Raises:
        BuildError: they have no box.
    """
    signs = sorted({sign for one in judged for sign in one.scene.signs})
    n = sum(len(one.scene.boxes) for one in judged)
    if not n:
        raise BuildError("there is no boxed sign to measure the detector on")
    told = np.concatenate([[d.score >= min_score for d in one.found] for one in judged]).astype(bool)
    match = np.concatenate([one.box for one in judged])[told]
    per_class = {sign: _of_sign(judged, sign, min_score) for sign in signs if sign != UNKNOWN}
    return DetectionEvaluation(
        n=n,
        found=int((match >= 0).sum()),
        wrong=int((match == _WRONG).sum()),
        unjudged=int((match == _UNJUDGED).sum()),
        named=sum(result.found for result in per_class.values()),
        read=sum(result.read for result in per_class.values()),
        map50=float(np.mean([result.average_precision for result in per_class.values()] or [0.0])),
        per_class=per_class,
    )


def _of_sign(judged: Sequence[Judged], sign: str, min_score: float) -> SignResult:
    n = sum(one.scene.signs.count(sign) for one in judged)
    found = read = 0
    scores, right = [], []
    for one in judged:
        for detection, box in zip(one.found, one.box, strict=True):
            truth = one.scene.signs[box] if box >= 0 else ""
            if truth == sign and detection.score >= min_score:
                found += 1
                read += detection.sign == sign
            if detection.sign == sign and box != _UNJUDGED and truth != UNKNOWN:
                scores.append(detection.score)
                right.append(truth == sign)
    return SignResult(n, found, read, average_precision(scores, right, n))


def average_precision(scores: Sequence[float], right: Sequence[bool], n: int) -> float:
    """Area under precision over recall, precision made to fall nowhere from right to left.

    Args:
        scores: of the detections, in any order; of equal scores the first comes first.
        right: whether each is right; at most `n` are.
        n: how many there are to find.
    """
    if not n or not len(scores):
        return 0.0
    order = np.argsort(-np.asarray(scores), kind="stable")
    hits = np.asarray(right, bool)[order]
    precision = hits.cumsum() / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[hits].sum() / n)
