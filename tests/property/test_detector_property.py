"""What must hold of the detector's boxes and counts, whatever the boxes are."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fleetctl.device import boxes as board
from fleetctl.models.detector.geometry import Boxes, corners, encode, iou
from fleetctl.models.detector.measure import average_precision

SCALES = [10, 10, 5, 5]


@st.composite
def some_boxes(draw: st.DrawFn) -> Boxes:
    """One to six boxes of 1 to 200 pixels a side, in whole pixels."""
    count = draw(st.integers(1, 6))
    starts = draw(arrays(np.float32, (count, 2), elements=st.integers(-100, 400).map(float)))
    sides = draw(arrays(np.float32, (count, 2), elements=st.integers(1, 200).map(float)))
    return np.concatenate([starts, starts + sides], axis=1).astype(np.float32)


@given(some_boxes(), some_boxes())
def test_a_board_decodes_what_training_encoded(boxes: Boxes, others: Boxes) -> None:
    """Encoding against any anchors, then decoding as boards do, gives the boxes back."""
    anchors = np.resize(
        np.stack(
            [
                (others[:, 1] + others[:, 3]) / 2,
                (others[:, 0] + others[:, 2]) / 2,
                others[:, 3] - others[:, 1],
                others[:, 2] - others[:, 0],
            ],
            axis=1,
        ),
        (len(boxes), 4),
    ).astype(np.float32)
    decoded = board.decode(encode(boxes, anchors, SCALES), anchors, SCALES)
    assert np.allclose(decoded, boxes, atol=0.05)


@given(some_boxes())
def test_an_anchor_is_the_box_of_its_own_offsets(boxes: Boxes) -> None:
    """Offsets of zero decode to the anchor's corners."""
    anchors = np.abs(boxes) + 1
    assert np.allclose(board.decode(np.zeros((len(boxes), 4)), anchors, SCALES), corners(anchors), atol=1e-3)


@given(some_boxes(), some_boxes())
def test_iou_is_a_likeness(first: Boxes, second: Boxes) -> None:
    """Between 0 and 1, symmetric, and 1 of a box with itself."""
    likeness = iou(first, second)
    assert ((likeness >= 0) & (likeness <= 1 + 1e-6)).all()
    assert np.allclose(likeness, iou(second, first).T)
    assert np.allclose(np.diag(iou(first, first)), 1)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=30), st.integers(0, 5))
def test_average_precision_is_a_fraction(answers: list[tuple[float, bool]], missed: int) -> None:
    """It is between 0 and recall, and all of it where every right answer outscores every wrong one."""
    right = sum(good for _, good in answers)
    n = right + missed
    area = average_precision([score for score, _ in answers], [good for _, good in answers], n)
    assert 0 <= area <= (right / n if n else 0) + 1e-9
    ordered = [(1 + score if good else score / 2, good) for score, good in answers]
    best = average_precision([score for score, _ in ordered], [good for _, good in ordered], n)
    assert abs(best - (right / n if n else 0)) < 1e-9
