"""What a detection contract must say before anything is allocated or run by it: sizes, numbers, and a fit.

The builder, the controller and the board hold a contract against the same rules. `fleetctl.device.boxes` says
what the fields mean; this file needs no numpy, because the controller reads contracts without it.
"""

from __future__ import annotations

import math
from typing import Any, List, Mapping, Sequence

MAPS = 16
ANCHORS = 64  # of one cell
BOXES = 1 << 18  # anchors in all: an input of 1024 x 1024 with a cell every 8 pixels has 16384 cells
SIDE = 1 << 14  # pixels
STRIDE = 1 << 10  # pixels
SCALE = 1000.0
MOST = 1000  # detections of one picture


class TermsRefused(ValueError):
    """A detection contract is malformed, or its parts do not fit each other; the message names the place."""


def check(contract: Mapping[str, Any]) -> None:
    """Refuse a contract of a detection model that cannot be followed.

    Args:
        contract: parsed `contract.json`; `labels`, `input`, `output` (the scores), `boxes`, `preprocess` and
            `detection` are read.

    Raises:
        TermsRefused: a field is absent, no finite number or out of bounds; the anchors are not as many as the
            tensors' boxes; the prepared picture is not the input; or the two outputs look alike.
    """
    height, width, channels = _sides(contract, "input", 4)[1:]
    prepared = _list(_at(contract, "preprocess"), "preprocess", "shape")
    if prepared != [height, width, channels]:
        raise TermsRefused("preprocess.shape: expected the input's %s" % [height, width, channels])
    spec = _at(contract, "detection")
    if not isinstance(spec, Mapping):
        raise TermsRefused("detection: expected an object")
    count = _anchor_count(spec, height, width)
    _check_outputs(contract, count)
    _check_limits(spec, height, width)


def alike(one: Any, other: Any) -> bool:
    """Whether two tensors cannot be told apart by shape, dtype, scale and zero point."""
    return (
        list(one["shape"]) == list(other["shape"])
        and one["dtype"] == other["dtype"]
        and math.isclose(one["scale"], other["scale"], rel_tol=1e-6)
        and one["zero_point"] == other["zero_point"]
    )


def _anchor_count(spec: Mapping[str, Any], height: int, width: int) -> int:
    maps = _list(spec, "detection", "maps")
    if not 0 < len(maps) <= MAPS:
        raise TermsRefused("detection.maps: expected 1 to %d maps" % MAPS)
    count = 0
    for number, level in enumerate(maps):
        place = "detection.maps[%d]" % number
        if not isinstance(level, Mapping):
            raise TermsRefused("%s: expected an object" % place)
        stride = _whole(level.get("stride"), place + ".stride", 1, STRIDE)
        sizes = _list(level, place, "anchors")
        if not 0 < len(sizes) <= ANCHORS:
            raise TermsRefused("%s.anchors: expected 1 to %d anchors" % (place, ANCHORS))
        for index, size in enumerate(sizes):
            _numbers(size, "%s.anchors[%d]" % (place, index), 2, SIDE)
        count += -(-height // stride) * -(-width // stride) * len(sizes)
    return count


def _check_outputs(contract: Mapping[str, Any], count: int) -> None:
    labels = _list(contract, "", "labels")
    scores, boxes = _sides(contract, "output", 3), _sides(contract, "boxes", 3)
    if boxes != [1, count, 4] or count > BOXES:
        raise TermsRefused(
            "boxes.shape: expected [1, %d, 4] for as many anchors (at most %d), got %s"
            % (count, BOXES, boxes)
        )
    if scores != [1, count, len(labels)]:
        raise TermsRefused(
            "output.shape: expected [1, %d, %d], scores of each anchor and label, got %s"
            % (count, len(labels), scores)
        )
    if alike(contract["output"], contract["boxes"]):
        raise TermsRefused(
            "boxes: cannot be told from output: shape, dtype, scale and zero point are the same"
        )


def _check_limits(spec: Mapping[str, Any], height: int, width: int) -> None:
    _numbers(spec.get("scales"), "detection.scales", 4, SCALE)
    for name in ("min_score", "max_iou"):
        if not 0.0 <= _number(spec.get(name), "detection." + name) <= 1.0:
            raise TermsRefused("detection.%s: expected a number from 0 to 1" % name)
    _whole(spec.get("most"), "detection.most", 1, MOST)
    # Tiles that share more than half a side would see every pixel of a large photo more than four times.
    _whole(spec.get("overlap"), "detection.overlap", 0, min(height, width) // 2)


def _sides(contract: Mapping[str, Any], name: str, rank: int) -> List[int]:
    tensor = _at(contract, name)
    shape = _list(tensor, name, "shape")
    if len(shape) != rank or shape[:1] != [1]:
        raise TermsRefused("%s.shape: expected %d sizes, the first of them 1" % (name, rank))
    if not isinstance(tensor.get("dtype"), str):
        raise TermsRefused("%s.dtype: expected a text" % name)
    if _number(tensor.get("scale"), name + ".scale") < 0.0:
        raise TermsRefused("%s.scale: expected 0 or more" % name)
    _whole(tensor.get("zero_point"), name + ".zero_point", -(1 << 31), (1 << 31) - 1)
    return [_whole(side, name + ".shape", 1, max(SIDE, BOXES)) for side in shape]


def _at(contract: Mapping[str, Any], name: str) -> Any:
    value = contract.get(name)
    if not isinstance(value, Mapping):
        raise TermsRefused("%s: expected an object" % name)
    return value


def _list(holder: Mapping[str, Any], place: str, name: str) -> List[Any]:
    value = holder.get(name)
    if not isinstance(value, list):
        raise TermsRefused("%s: expected an array" % (place + "." + name if place else name))
    return value


def _numbers(value: Any, place: str, count: int, most: float) -> Sequence[float]:
    if not isinstance(value, list) or len(value) != count:
        raise TermsRefused("%s: expected %d numbers" % (place, count))
    numbers = [_number(one, place) for one in value]
    if not all(0.0 < number <= most for number in numbers):
        raise TermsRefused("%s: expected numbers over 0, at most %g" % (place, most))
    return numbers


def _number(value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
        raise TermsRefused("%s: expected a finite number" % place)
    return float(value)


def _whole(value: Any, place: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise TermsRefused("%s: expected a whole number from %d to %d" % (place, least, most))
    return value
