"""Anchors, decoding, suppression and tiles, held against plain loops and against the formulas of SSD."""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny_detector import detection_terms, marked, marks_contract

from fleetctl.artifact import Tensor
from fleetctl.device import boxes

SPEC: dict[str, Any] = {
    "maps": [{"stride": 8, "anchors": [[24, 16], [16, 40]]}, {"stride": 32, "anchors": [[64, 64]]}]
}


def test_anchors_in_the_networks_order() -> None:
    """Map by map, row by row, cell by cell, anchor by anchor; a cell that hangs over counts."""
    expected = [
        [(row + 0.5) * level["stride"], (column + 0.5) * level["stride"], *size]
        for level in SPEC["maps"]
        for row in range(math.ceil(40 / level["stride"]))
        for column in range(math.ceil(50 / level["stride"]))
        for size in level["anchors"]
    ]
    found = boxes.anchors(SPEC, 40, 50)
    assert found.dtype == np.float32
    assert expected == found.tolist()


def test_decoding_is_ssds() -> None:
    """One box by hand: centre by a tenth of the anchor's side, size by the exponential of a fifth."""
    anchor = np.array([[100.0, 50.0, 20.0, 40.0]], np.float32)
    (x0, y0, x1, y1) = boxes.decode(np.array([[5.0, -10.0, 1.0, -2.0]]), anchor, [10, 10, 5, 5])[0]
    height, width = 20 * math.exp(0.2), 40 * math.exp(-0.4)
    assert [x0, y0, x1, y1] == pytest.approx(
        [10 - width / 2, 110 - height / 2, 10 + width / 2, 110 + height / 2], rel=1e-6
    )


def encoded(box: tuple[float, float, float, float], anchor: NDArray[np.float32]) -> list[float]:
    """The offsets that stand for a box: the inverse of decoding."""
    x0, y0, x1, y1 = box
    ay, ax, h, w = (float(value) for value in anchor)
    centre = (((y0 + y1) / 2 - ay) / h * 10, ((x0 + x1) / 2 - ax) / w * 10)
    return [*centre, math.log((y1 - y0) / h) * 5, math.log((x1 - x0) / w) * 5]


side = st.floats(4, 200)
corner = st.floats(-50, 300)


@given(corner, corner, side, side, st.integers(0, 100))
@settings(deadline=None)
def test_decoding_undoes_encoding(left: float, top: float, width: float, height: float, place: int) -> None:
    """Any box comes back from its offsets to any anchor."""
    known = boxes.anchors(SPEC, 64, 64)
    anchor = known[place % len(known)]
    box = (left, top, left + width, top + height)
    found = boxes.decode(np.array([encoded(box, anchor)]), anchor[np.newaxis], [10, 10, 5, 5])[0]
    assert list(box) == pytest.approx(found.tolist(), abs=1e-2)


def plain_iou(one: NDArray[Any], other: NDArray[Any]) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, wide) * max(0.0, high)
    return shared / (
        (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - shared
    )


def plain_suppression(found: NDArray[Any], scores: list[float], max_iou: float, most: int) -> list[int]:
    kept: list[int] = []
    for place in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        if len(kept) < most and all(plain_iou(found[place], found[k]) <= max_iou for k in kept):
            kept.append(place)
    return kept


box_list = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 30), st.integers(1, 30)), max_size=25
)


@given(box_list, st.data())
@settings(max_examples=150, deadline=None)
def test_suppression_is_the_greedy_one(raw: list[tuple[int, int, int, int]], data: st.DataObject) -> None:
    """The vectorised loop keeps what two plain loops keep, ties and all."""
    found = np.array([(x, y, x + w, y + h) for x, y, w, h in raw], np.float32).reshape(-1, 4)
    scores = data.draw(st.lists(st.sampled_from([0.5, 0.7, 0.9]), min_size=len(raw), max_size=len(raw)))
    max_iou, most = data.draw(st.sampled_from([0.0, 0.3, 0.45, 1.0])), data.draw(st.integers(1, 30))
    kept = boxes.suppress(found, np.array(scores, np.float32), max_iou, most)
    assert plain_suppression(found.astype(np.float64), scores, max_iou, most) == kept.tolist()


def test_boxes_without_an_area_disturb_nobody() -> None:
    """Points and lines overlap nothing, themselves included."""
    found = np.array([[5, 5, 5, 5], [5, 5, 5, 5], [0, 0, 10, 10]], np.float32)
    assert boxes.suppress(found, np.array([0.9, 0.9, 0.8]), 0.5, 10).tolist() == [0, 1, 2]


@given(st.integers(1, 700), st.integers(1, 700), st.integers(8, 120), st.integers(8, 120), st.data())
@settings(max_examples=150, deadline=None)
def test_tiles_cover_and_overlap(
    height: int, width: int, tile_height: int, tile_width: int, data: st.DataObject
) -> None:
    """Every pixel is on a tile, neighbours share enough, and none hangs over a large enough picture."""
    overlap = data.draw(st.integers(0, min(tile_height, tile_width) // 2))
    found = boxes.tiles(height, width, tile_height, tile_width, overlap)
    for starts, tile, length in (
        (sorted({top for top, _ in found}), tile_height, height),
        (sorted({left for _, left in found}), tile_width, width),
    ):
        assert starts[0] == 0
        assert starts[-1] == max(0, length - tile)
        assert all(0 < after - before <= tile - overlap for before, after in pairwise(starts))
    assert len(found) == len(set(found)) == len({t for t, _ in found}) * len({left for _, left in found})


@pytest.mark.parametrize("overlap", [-1, 16, 20])
def test_tiles_that_never_end_are_refused(overlap: int) -> None:
    """An overlap of a whole tile would make no progress."""
    with pytest.raises(ValueError, match="cannot overlap"):
        boxes.tiles(100, 100, 16, 32, overlap)


def contract(**changes: Any) -> Mapping[str, Any]:
    """A detector with float outputs, for models that are written in Python."""
    plain = {"output": Tensor((1, 5, 2), "float32"), "boxes": Tensor((1, 5, 4), "float32")}
    return marks_contract(**plain, **changes).to_mapping()


def discs(tensor: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scores the middle of each quadrant as a disc, and says the quadrant."""
    pixels = tensor[0, :, :, 0].astype(np.float32) / 255
    scores = np.zeros((1, 5, 2), np.float32)
    for place, (top, left) in enumerate([(0, 0), (0, 8), (8, 0), (8, 8)]):
        scores[0, place, 0] = pixels[top + 2 : top + 6, left + 2 : left + 6].mean()
    return scores, np.zeros((1, 5, 4), np.float32)


@given(st.sets(st.tuples(st.integers(0, 8), st.integers(0, 11)), max_size=12))
@settings(max_examples=30, deadline=None)
def test_a_mark_seen_on_four_tiles_is_told_once(cells: set[tuple[int, int]]) -> None:
    """However many tiles show a mark, there is one detection of it, where it is in the picture."""
    picture = marked(*(("disc", 8 * row, 8 * column) for row, column in cells), shape=(72, 96))
    found = boxes.detect(picture, contract(), discs)
    expected = sorted([8.0 * c, 8.0 * r, 8.0 * c + 8, 8.0 * r + 8] for r, c in cells)
    assert expected == sorted(one["box"] for one in found)
    assert {"disc"} >= {one["sign"] for one in found}


def test_detections_fall_by_score_and_stay_in_the_picture() -> None:
    """Bright marks come first; a box that hangs over the edge ends there."""
    picture = np.maximum(marked(("disc", 0, 0), bright=150), marked(("disc", 8, 16), bright=250))

    def wide(tensor: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        scores, offsets = discs(tensor)
        return scores, offsets + np.array([0, 0, 5, 5], np.float32)

    found = boxes.detect(picture, contract(), wide)
    assert [one["score"] for one in found] == [pytest.approx(250 / 255), pytest.approx(150 / 255)]
    assert [one["box"] for one in found] == [[9.13, 1.13, 24.0, 16.0], [0.0, 0.0, 14.87, 14.87]]


def test_the_best_of_a_full_tile_go_on() -> None:
    """Of thousands of false alarms on a tile the best are suppressed, and no more than `most` are told."""
    sizes = [{"stride": 1, "anchors": [[1, 1]] * 8}]
    spec = detection_terms(maps=sizes, most=60, max_iou=0.9)
    crowded = {**contract(detection=spec), "labels": ["disc"]}
    scores = np.random.default_rng(3).permutation(2048).astype(np.float32) / 4096 + 0.5
    found = boxes.detect(
        marked(shape=(16, 16)), crowded, lambda _: (scores.reshape(1, -1, 1), np.zeros((1, 2048, 4)))
    )
    best_of_each_cell = np.sort(scores.reshape(256, 8).max(axis=1))[::-1][:60]
    assert [one["score"] for one in found] == pytest.approx(best_of_each_cell.tolist(), abs=1e-6)


def test_colour_is_turned_to_grey_once() -> None:
    """A colour photo gives what its grey version gives."""
    grey = marked(("disc", 0, 0))
    colour = np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    assert boxes.detect(grey, contract(), discs) == boxes.detect(colour, contract(), discs)
