"""What each anchor is asked for: a sign, background, or nothing."""

import numpy as np
import pytest

from fleetctl.models.detector import anchors
from fleetctl.models.detector.background import BareStone
from fleetctl.models.detector.lessons import Lessons, consistent
from fleetctl.models.detector.scenes import Scene
from fleetctl.models.detector.targets import BACKGROUND, IGNORED, UNKNOWN_SIGN, assign, label_indices

ANCHORS = np.array([[20, 20, 20, 20], [20, 60, 20, 20], [60, 60, 20, 20]], np.float32)
SCALES = [10, 10, 5, 5]


def asked(
    *boxes: tuple[float, ...], classes: tuple[int, ...] | None = None, background: bool = True
) -> list[int]:
    targets = assign(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(classes or [7] * len(boxes), np.int32),
        np.full(len(ANCHORS), background),
        ANCHORS,
        SCALES,
        (80, 80),
    )
    return targets.classes.tolist()


@pytest.mark.parametrize(
    ("box", "first"),
    [
        ((10, 10, 30, 30), 7),  # the anchor itself
        ((13, 10, 33, 30), 7),  # IoU 0.74
        ((19, 10, 39, 30), 7),  # IoU 0.38, but no other anchor is nearer
        ((28, 10, 48, 30), BACKGROUND),  # IoU 0.05
    ],
)
def test_an_anchor_answers_for_the_box_it_resembles(box: tuple[float, ...], first: int) -> None:
    """IoU 0.5 makes it responsible, or being the nearest where no anchor resembles the box."""
    assert asked(box) == [first, BACKGROUND, BACKGROUND]


def test_an_anchor_between_sign_and_background_is_left_alone() -> None:
    """IoU from 0.4 to 0.5 is neither, where another anchor answers for the box."""
    near = np.array([[20, 20, 20, 20], [20, 27.5, 20, 20]], np.float32)
    box = np.array([[10, 10, 30, 30]], np.float32)
    classes = assign(box, np.array([7], np.int32), np.ones(2, bool), near, SCALES, (80, 80)).classes
    assert classes.tolist() == [7, IGNORED]


def test_nobody_asks_where_nobody_knows() -> None:
    """Anchors that may see a sign nobody boxed are left alone; boxes are asked for all the same."""
    assert asked((10, 10, 30, 30), background=False) == [7, IGNORED, IGNORED]
    assert asked(background=False) == [IGNORED] * 3


def test_a_sign_that_a_tile_cuts_off_is_not_asked_for() -> None:
    """Less than 60 % in the tile: neither sign nor background. Less than 25 %: background."""
    anchor = np.array([[20, 5, 20, 10]], np.float32)

    def half(box: tuple[float, ...]) -> int:
        boxes = np.array([box], np.float32)
        return int(
            assign(boxes, np.array([7], np.int32), np.ones(1, bool), anchor, SCALES, (80, 80)).classes[0]
        )

    assert half((-5, 10, 10, 30)) == 7
    assert half((-10, 10, 10, 30)) == IGNORED
    assert half((-90, 10, 10, 30)) == BACKGROUND


def test_signs_without_a_label_teach_finding_only() -> None:
    """UNKNOWN, or a sign that was not to be learnt, is a sign."""
    assert label_indices(["G17", "UNKNOWN", "N35"], {"G17": 0}).tolist() == [0, UNKNOWN_SIGN, UNKNOWN_SIGN]


def test_boxes_that_contradict_each_other_are_both_doubted() -> None:
    """Two boxes on nearly one place cannot both be right."""
    boxes = np.array([[0, 0, 20, 20], [2, 0, 22, 20], [40, 0, 60, 20]], np.float32)
    assert consistent(boxes).tolist() == [False, False, True]


def plate() -> Scene:
    """Noise where two signs are boxed, and nothing elsewhere."""
    rng = np.random.default_rng(0)
    image = np.full((300, 300), 190, np.uint8)
    image[20:80, 20:80] = rng.integers(0, 255, (60, 60))
    image[20:80, 150:210] = rng.integers(0, 255, (60, 60))
    boxes = np.array([[20, 20, 80, 80], [150, 20, 210, 80]], np.float32)
    return Scene("plate 1", image, boxes, ("G17", "N35"), False)


def test_bare_stone_is_told_from_carved() -> None:
    """Where no pixel is an edge there is no sign; within boxes there is one."""
    bare = BareStone(plate())
    places = np.array([[20, 20, 80, 80], [200, 200, 260, 260], [30, 30, 90, 90]], np.float32)
    assert bare.is_bare(places).tolist() == [False, True, False]


def test_lessons_are_a_function_of_seed_and_step() -> None:
    """Step 3 is the same whoever comes there first; real plates are asked about where it is certain."""
    detection = anchors.specification([plate()])
    spec = {"shape": [224, 224, 1], "fit": "contain", "smooth": 0}

    def lessons(seed: int) -> Lessons:
        return Lessons([plate()], ["G17", "N35"], spec, detection, batch_size=2, seed=seed)

    first, again, other = lessons(0).batch(3), lessons(0).batch(3), lessons(1).batch(3)
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.classes, again.classes)
    assert not np.array_equal(first.pixels, other.pixels)
    assert first.pixels.shape == (2, 224, 224, 1)
    assert {0, 1} & set(first.classes.ravel().tolist())
    assert {BACKGROUND, IGNORED} <= set(first.classes.ravel().tolist())


def test_anchors_resemble_the_boxes_they_are_made_for() -> None:
    """Clusters of flat and of tall boxes are found, by rising area, in whole pixels."""
    flat, tall = [0, 0, 80, 30], [0, 0, 30, 90]
    boxes = np.array([flat, tall] * 20, np.float32) + np.random.default_rng(0).normal(0, 0.3, (40, 4))
    scene = Scene("a", np.zeros((100, 100), np.uint8), boxes.astype(np.float32), ("A",) * 40, True)
    assert anchors.sizes([scene], count=2) == [[30, 80], [90, 30]]
