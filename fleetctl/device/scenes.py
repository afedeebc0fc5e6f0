"""Whether two lists of detections show the same scene: what a board found against what the build host found.

Two boards give the same network slightly different numbers, and that moves boxes, and which of two rivals
suppression keeps. A list agrees with another where nothing but that can explain how they differ:

* A detection has a partner where both have the same label, an IoU of at least `SAME_IOU`, and scores within
  the tolerance.
* One without a partner is excused where its score lies within the tolerance of the threshold, or where
  suppression may have decided the other way: a detection of the other list that is accounted for itself
  overlaps it by nearly `max_iou`, and scores high enough to have suppressed it.
* No list holds two boxes that suppression would not have left side by side; so nothing is found twice.

The order of the lists does not matter, nor which of them is which. The standard library suffices.
"""

from __future__ import annotations

from typing import Any, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from .checks import finite

SAME_IOU = 0.5
RIVAL_SLACK = 0.1  # how far noise moves the IoU of two boxes

_ROUNDING = 1e-6


class Detection(NamedTuple):
    """One sign that was found; box as x0, y0, x1, y1 in pixels."""

    label: str
    score: float
    box: Tuple[float, float, float, float]


class Terms(NamedTuple):
    """By what two scenes are compared: of a contract's `detection`, and its `score_tolerance`."""

    min_score: float
    max_iou: float
    score_tolerance: float
    most: int = 300


def terms_of(contract: Mapping[str, Any]) -> Optional[Terms]:
    """The terms that a contract gives; None where it gives none."""
    spec = contract.get("detection")
    if not isinstance(spec, Mapping):
        return None
    found = [spec.get("min_score"), spec.get("max_iou"), contract.get("score_tolerance"), spec.get("most")]
    known = [number for number in map(finite, found) if number is not None]
    return Terms(known[0], known[1], known[2], int(known[3])) if len(known) == len(found) else None


def read(value: Any, most: int) -> Optional[List[Detection]]:
    """Detections from parsed JSON, `[{"label", "score", "box": [x0, y0, x1, y1]}]`.

    None where it is none, or more than `most`: suppression would not have left them.
    """
    if not isinstance(value, list) or len(value) > most:
        return None
    found = [_detection(one) for one in value]
    return None if any(one is None for one in found) else [one for one in found if one is not None]


def sure(scene: Sequence[Detection], terms: Terms) -> List[Detection]:
    """Those that score so high that every good board must find them."""
    return [one for one in scene if _is_sure(one, terms)]


def difference(golden: Sequence[Detection], found: Sequence[Detection], terms: Terms) -> str:
    """How a scene differs from the golden one, in a clause; empty where they agree."""
    for scene, whose in ((golden, "the golden answer"), (found, "the answer")):
        if _overlaps(scene, terms.max_iou):
            return "%s has boxes that suppression would not have left" % whose
    missing, extra = unaccounted(golden, found, terms)
    if missing:
        return "%s is missing" % _shown(missing[0])
    return "%s was not to be found" % _shown(extra[0]) if extra else ""


def unaccounted(
    golden: Sequence[Detection], found: Sequence[Detection], terms: Terms
) -> Tuple[List[Detection], List[Detection]]:
    """What is missing and what is too many, each by falling score."""
    near = [(g, f, iou(golden[g].box, found[f].box)) for g, f in _touching(golden, found)]
    partners = [
        (g, f)
        for g, f, shared in near
        if shared >= SAME_IOU - _ROUNDING and _match(golden[g], found[f], terms)
    ]
    rivals = [(g, f) for g, f, shared in near if shared >= terms.max_iou - RIVAL_SLACK - _ROUNDING]
    golden_known, found_known = {g for g, _ in partners}, {f for _, f in partners}
    while _excuse(golden, found, rivals, golden_known, found_known, terms):
        pass
    return _left(golden, golden_known, terms), _left(found, found_known, terms)


def iou(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes; 0 where neither has an area."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    if wide <= 0.0 or high <= 0.0:
        return 0.0
    shared = wide * high
    union = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - shared
    return shared / union if union > 0.0 else 0.0


def _detection(value: Any) -> Optional[Detection]:
    if not isinstance(value, Mapping) or not isinstance(value.get("label"), str):
        return None
    score, box = finite(value.get("score")), value.get("box")
    sides = [finite(side) for side in box] if isinstance(box, list) and len(box) == 4 else []
    known = [side for side in sides if side is not None and abs(side) < 1e9]
    if score is None or len(known) != 4 or known[0] > known[2] or known[1] > known[3]:
        return None
    return Detection(value["label"], score, (known[0], known[1], known[2], known[3]))


def _is_sure(one: Detection, terms: Terms) -> bool:
    return one.score > terms.min_score + terms.score_tolerance + _ROUNDING


def _match(one: Detection, other: Detection, terms: Terms) -> bool:
    return one.label == other.label and abs(one.score - other.score) <= terms.score_tolerance + _ROUNDING


def _touching(golden: Sequence[Detection], found: Sequence[Detection]) -> Iterator[Tuple[int, int]]:
    """Pairs whose boxes may overlap, by a sweep from left to right: scenes of hundreds have few of them."""
    order = sorted(range(len(found)), key=lambda f: found[f].box[0])
    widest = max((one.box[2] - one.box[0] for one in found), default=0.0)
    for g, one in enumerate(golden):
        for f in order:
            left = found[f].box[0]
            if left > one.box[2]:
                break
            if left >= one.box[0] - widest:
                yield g, f


def _excuse(
    golden: Sequence[Detection],
    found: Sequence[Detection],
    rivals: Sequence[Tuple[int, int]],
    golden_known: Set[int],
    found_known: Set[int],
    terms: Terms,
) -> bool:
    """Account for whatever a known rival may have suppressed; True if that was anything new."""
    before = len(golden_known) + len(found_known)
    for g, f in rivals:
        difference = found[f].score - golden[g].score
        if f in found_known and difference >= -terms.score_tolerance - _ROUNDING:
            golden_known.add(g)
        if g in golden_known and difference <= terms.score_tolerance + _ROUNDING:
            found_known.add(f)
    return len(golden_known) + len(found_known) > before


def _left(scene: Sequence[Detection], known: Set[int], terms: Terms) -> List[Detection]:
    left = [one for index, one in enumerate(scene) if index not in known and _is_sure(one, terms)]
    return sorted(left, key=lambda one: -one.score)


def _overlaps(scene: Sequence[Detection], max_iou: float) -> bool:
    limit = max_iou + RIVAL_SLACK / 2  # boxes are told in whole tenths of pixels
    return any(a < b and iou(scene[a].box, scene[b].box) > limit for a, b in _touching(scene, scene))


def _shown(one: Detection) -> str:
    return "%.40s (%.2f) at [%s]" % (one.label, one.score, ", ".join("%.0f" % side for side in one.box))
