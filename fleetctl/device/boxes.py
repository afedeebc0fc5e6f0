"""From a detector's raw outputs to boxes in a picture: anchors, decoding, suppression and tiles, in numpy.

It is the same file on the build host and on every board. Nothing of it belongs into the network: an Edge TPU
maps neither an exponential nor a loop over data, and what it does not map ends its part of the graph.

A detector has one input and two outputs: scores (1, N, labels), real values 0..1, and boxes (1, N, 4), real
values (dy, dx, dh, dw) relative to N anchors. `contract["detection"]` says how they are read:

    {"maps": [{"stride": 8,                    input pixels from cell to cell of this feature map
               "anchors": [[24, 16], ...]}],   height, width in input pixels
     "scales": [10, 10, 5, 5],                 what dy, dx, dh and dw were multiplied by
     "min_score": 0.5,                         a lower score is no detection
     "max_iou": 0.5,                           of two boxes that overlap more, the better one stays
     "most": 300,                              detections of one picture
     "overlap": 64}                            pixels that neighbouring tiles of a large picture share
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

from . import preprocess

CANDIDATES = 1000  # of one tile, best first: what a tile full of false alarms may cost the suppression
_BLOCK = 256  # boxes that suppression looks at together


def anchors(spec: Mapping[str, Any], height: int, width: int) -> Any:
    """The anchors of an input of `height` x `width` pixels, in the order of the network's outputs.

    For each map in order, for each of its ceil(height/stride) x ceil(width/stride) cells row by row, for each
    of its anchors: the centre of the cell and the anchor's size.

    Args:
        spec: `contract["detection"]`, of which `maps` is read.

    Returns:
        float32 (N, 4): centre y, centre x, height, width, in input pixels.
    """
    return np.concatenate(
        [_map_anchors(int(level["stride"]), level["anchors"], height, width) for level in spec["maps"]]
    )


def decode(encoded: Any, anchors: Any, scales: Sequence[float]) -> Any:
    """Boxes from their offsets to anchors, after SSD (Liu et al. 2016, section 2.2).

    cy = dy / scales[0] * h + ay, cx = dx / scales[1] * w + ax, height = h exp(dh / scales[2]), width = w
    exp(dw / scales[3]): the coding of TensorFlow's object_detection/box_coders/faster_rcnn_box_coder.py.

    Args:
        encoded: real values (N, 4): dy, dx, dh, dw.
        anchors: (N, 4) as `anchors` gives them.

    Returns:
        float32 (N, 4): x0, y0, x1, y1 in input pixels. An offset too large for a float gives infinities.
    """
    offsets = np.asarray(encoded, np.float32) / np.asarray(scales, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        centres = offsets[:, :2] * anchors[:, 2:] + anchors[:, :2]
        halves = np.exp(offsets[:, 2:]) * anchors[:, 2:] * np.float32(0.5)
        return np.concatenate([(centres - halves)[:, ::-1], (centres + halves)[:, ::-1]], axis=1)


def suppress(boxes: Any, scores: Any, max_iou: float, most: int) -> Any:
    """Greedy non-maximum suppression, whatever the label.

    The best box stays and takes away those that overlap it by an IoU over `max_iou`; then the best of what is
    left, until `most` are kept. Of equal scores the first comes first.

    Args:
        boxes: (N, 4) as x0, y0, x1, y1.
        scores: (N,), finite.

    Returns:
        indices (K,) of the kept boxes, by falling score.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    ranked = np.asarray(boxes, np.float32)[order]
    kept: List[int] = []
    for start in range(
        0, len(order), _BLOCK
    ):  # by falling score: once enough are kept, the rest costs nothing
        left = np.arange(start, min(start + _BLOCK, len(order)))
        if kept:
            left = left[_iou(ranked[kept][:, np.newaxis], ranked[left]).max(axis=0) <= max_iou]
        while len(left) and len(kept) < most:
            kept.append(int(left[0]))
            left = left[1:][_iou(ranked[left[0]], ranked[left[1:]]) <= max_iou]
        if len(kept) == most:
            break
    return order[kept]


def tiles(height: int, width: int, tile_height: int, tile_width: int, overlap: int) -> List[Tuple[int, int]]:
    """Where tiles lie that cover a picture: (top, left) of each, row by row.

    Neighbours share at least `overlap` pixels and are spread evenly; none hangs over the picture, unless the
    picture is smaller than a tile.

    Raises:
        ValueError: `overlap` is not less than a side of the tile.
    """
    if not 0 <= overlap < min(tile_height, tile_width):
        raise ValueError("tiles of %d x %d cannot overlap by %d" % (tile_height, tile_width, overlap))
    lefts = _starts(width, tile_width, overlap)
    return [(top, left) for top in _starts(height, tile_height, overlap) for left in lefts]


def detect(
    image: Any, contract: Mapping[str, Any], run: Callable[[Any], Tuple[Any, Any]]
) -> List[Dict[str, Any]]:
    """Everything that a detector finds in a picture of any size.

    A picture larger than the network's input is cut into tiles of that size, a smaller one is continued to
    the right and below with the pixels of its edge; nothing is rescaled. Boxes of all tiles are suppressed
    together.

    Args:
        image: uint8 (H, W) or (H, W, 3).
        contract: `model/contract.json` of a detection model.
        run: one inference: the input tensor -> (raw scores, raw boxes), as the interpreter gives them.

    Returns:
        `[{"box": [x0, y0, x1, y1], "sign": label, "score": 0..1}]` by falling score; boxes in pixels of
        `image`, clipped to it.

    Raises:
        ArithmeticError: the model gave a score or a box that is no number.
        ValueError: `image` is no such array.
    """
    grey = preprocess.to_grey(image)
    height, width = grey.shape
    tile_height, tile_width = (int(side) for side in contract["preprocess"]["shape"][:2])
    spec = contract["detection"]
    known = anchors(spec, tile_height, tile_width)
    found = []
    for top, left in tiles(height, width, tile_height, tile_width, int(spec["overlap"])):
        tile = grey[top : top + tile_height, left : left + tile_width]
        whole = _continued(tile, tile_height, tile_width)
        prepared = preprocess.prepare(whole, contract["preprocess"])
        raw = run(preprocess.to_input(prepared, contract["input"]))
        candidates = _candidates(raw, contract, known)
        shift = np.array([left, top, left, top], np.float32)
        found.append(candidates._replace(boxes=candidates.boxes + shift))
    return _merged(found, spec, contract["labels"], height, width)


class _Found(NamedTuple):
    """Boxes before suppression: float32 (N, 4), float32 (N,) and the labels' indices (N,)."""

    boxes: Any
    scores: Any
    labels: Any


def _map_anchors(stride: int, sizes: Any, height: int, width: int) -> Any:
    sizes = np.asarray(sizes, np.float32).reshape(-1, 2)
    rows, columns = -(-height // stride), -(-width // stride)
    cells = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1)
    centres = (cells.reshape(-1, 1, 2) + 0.5) * stride
    found = np.empty((rows * columns, len(sizes), 4), np.float32)
    found[:, :, :2], found[:, :, 2:] = centres, sizes
    return found.reshape(-1, 4)


def _iou(one: Any, others: Any) -> Any:
    """Intersection over union of boxes (..., 4), broadcast; 0 where neither has an area."""
    wide = np.minimum(one[..., 2], others[..., 2]) - np.maximum(one[..., 0], others[..., 0])
    high = np.minimum(one[..., 3], others[..., 3]) - np.maximum(one[..., 1], others[..., 1])
    shared = np.maximum(wide, 0.0) * np.maximum(high, 0.0)
    union = _area(one) + _area(others) - shared
    return shared / np.maximum(union, np.finfo(np.float32).tiny)


def _area(boxes: Any) -> Any:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _starts(length: int, tile: int, overlap: int) -> List[int]:
    if length <= tile:
        return [0]
    gaps = -(-(length - tile) // (tile - overlap))
    return [gap * (length - tile) // gaps for gap in range(gaps + 1)]


def _continued(tile: Any, height: int, width: int) -> Any:
    below, after = height - tile.shape[0], width - tile.shape[1]
    return np.pad(tile, ((0, below), (0, after)), mode="edge") if below or after else tile


def _candidates(raw: Tuple[Any, Any], contract: Mapping[str, Any], known: Any) -> _Found:
    """What one tile gives before suppression; only boxes that score are dequantized and decoded."""
    spec = contract["detection"]
    raw_scores, raw_boxes = np.asarray(raw[0]).reshape(len(known), -1), np.asarray(raw[1]).reshape(-1, 4)
    scores = preprocess.from_output(raw_scores.max(axis=1), contract["output"])  # a NaN counts as the largest
    if not np.all(np.isfinite(scores)):
        raise ArithmeticError("the model gave a score that is no number")
    if not np.all(np.isfinite(raw_boxes)):
        raise ArithmeticError("the model gave a box that is no number")
    chosen = np.flatnonzero(scores >= np.float32(spec["min_score"]))
    if len(chosen) > CANDIDATES:
        chosen = chosen[np.argsort(-scores[chosen], kind="stable")[:CANDIDATES]]
    encoded = preprocess.from_output(raw_boxes[chosen], contract["boxes"]).reshape(-1, 4)
    boxes = decode(encoded, known[chosen], spec["scales"])
    if not np.all(np.isfinite(boxes)):
        raise ArithmeticError("the model gave a box that is no number")
    return _Found(boxes, scores[chosen], raw_scores[chosen].argmax(axis=1))


def _merged(
    found: Sequence[_Found], spec: Mapping[str, Any], labels: Sequence[str], height: int, width: int
) -> List[Dict[str, Any]]:
    every = _Found(
        np.concatenate([tile.boxes for tile in found]),
        np.concatenate([tile.scores for tile in found]),
        np.concatenate([tile.labels for tile in found]),
    )
    boxes = np.clip(every.boxes, 0.0, np.array([width, height, width, height], np.float32))
    inside = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
    kept = inside[suppress(boxes[inside], every.scores[inside], float(spec["max_iou"]), int(spec["most"]))]
    return [
        {
            "box": [round(float(side), 2) for side in boxes[i]],
            "sign": str(labels[every.labels[i]]),
            "score": round(float(every.scores[i]), 6),
        }
        for i in kept
    ]
