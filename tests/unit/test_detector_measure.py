"""What counts as found, as wrong, and as anybody's guess; and average precision."""

import numpy as np
import pytest
from tiny_board import MODELS
from tiny_detector import marked, marks_contract

from fleetctl.artifact import Contract
from fleetctl.errors import BuildError
from fleetctl.models.detector.inference import Detection, Detector, ends
from fleetctl.models.detector.measure import average_precision, judge, measure, summarize
from fleetctl.models.detector.scenes import Scene, no_boxes

G17, N35 = (20.0, 20.0, 80.0, 80.0), (150.0, 20.0, 210.0, 80.0)


def scene(*, complete: bool = False, signs: tuple[str, str] = ("G17", "N35")) -> Scene:
    """Two signs of noise on bare stone, and a third that nobody boxed below the first."""
    rng = np.random.default_rng(0)
    image = np.full((300, 300), 190, np.uint8)
    for top, left in ((20, 20), (20, 150), (120, 20)):
        image[top : top + 60, left : left + 60] = rng.integers(0, 255, (60, 60))
    return Scene("plate 1", image, np.array([G17, N35], np.float32), signs, complete)


@pytest.mark.parametrize(
    ("box", "verdict"),
    [
        ((22.0, 20.0, 82.0, 80.0), 0),
        ((150.0, 20.0, 190.0, 80.0), 1),
        ((20.0, 20.0, 45.0, 80.0), -1),  # a part of a sign
        ((220.0, 200.0, 280.0, 260.0), -1),  # bare stone
        ((20.0, 120.0, 80.0, 180.0), -2),  # a sign that nobody boxed
    ],
)
def test_a_detection_off_every_box_is_wrong_only_where_that_is_certain(
    box: tuple[float, float, float, float], verdict: int
) -> None:
    """On a plate whose signs are not all boxed."""
    assert judge(scene(), [Detection(box, "G17", 0.9)]).box.tolist() == [verdict]


def test_off_every_box_is_wrong_where_every_sign_is_boxed() -> None:
    """On composed walls nothing is unjudged."""
    found = [Detection((20.0, 120.0, 80.0, 180.0), "G17", 0.9)]
    assert judge(scene(complete=True), found).box.tolist() == [-1]


def test_a_box_is_found_once_and_by_the_best() -> None:
    """The second detection of a sign is wrong."""
    found = [Detection((25.0, 20.0, 85.0, 80.0), "G17", 0.6), Detection(G17, "G17", 0.9)]
    judged = judge(scene(), found)
    assert ([one.score for one in judged.found], judged.box.tolist()) == ([0.9, 0.6], [0, -1])


def test_counts_what_the_threshold_lets_through() -> None:
    """Recall and precision are at the threshold, average precision is over all scores."""
    found = [
        Detection(G17, "G5", 0.9),
        Detection(N35, "N35", 0.4),
        Detection((220.0, 200.0, 280.0, 260.0), "N35", 0.8),
        Detection((20.0, 120.0, 80.0, 180.0), "N35", 0.7),
    ]
    result = summarize([judge(scene(), found)], 0.5)
    assert (result.n, result.found, result.wrong, result.unjudged) == (2, 1, 1, 1)
    assert (result.recall, result.precision, result.reading) == (0.5, 0.5, 0.0)
    assert {sign: one.average_precision for sign, one in result.per_class.items()} == {"G17": 0.0, "N35": 0.5}
    assert result.map50 == 0.25


def test_a_box_of_an_unknown_sign_asks_for_finding_only() -> None:
    """It counts for recall, and neither for nor against the reading."""
    result = summarize([judge(scene(signs=("UNKNOWN", "N35")), [Detection(G17, "N35", 0.9)])], 0.5)
    assert (result.found, result.named, result.read) == (1, 0, 0)
    assert result.per_class["N35"].average_precision == 0.0


@pytest.mark.parametrize(
    ("scores", "right", "n", "area"),
    [
        ([0.9, 0.8], [True, True], 2, 1.0),
        ([0.9, 0.8], [True, True], 4, 0.5),
        ([0.9, 0.8, 0.7], [False, True, True], 2, 2 / 3),
        ([0.9, 0.8, 0.7], [True, False, True], 2, (1 + 2 / 3) / 2),
        ([], [], 3, 0.0),
    ],
)
def test_average_precision_of_small_cases(
    scores: list[float], right: list[bool], n: int, area: float
) -> None:
    """Worked by hand."""
    assert average_precision(scores, right, n) == pytest.approx(area)


def marks() -> Detector:
    return Detector((MODELS / "marks.tflite").read_bytes(), marks_contract())


def test_measures_a_real_model() -> None:
    """A tiny detector of discs and bars finds what lies where it looks, by the path that boards take."""
    boxes = [one.box for one in marks().detect(marked(("disc", 0, 0), ("bar", 8, 16)))]
    truth = Scene(
        "a", marked(("disc", 0, 0), ("bar", 8, 16)), np.array(boxes, np.float32), ("disc", "bar"), True
    )
    told: list[tuple[str, int, int]] = []
    result = measure(marks(), [truth], progress=lambda *news: told.append(news))
    assert (result.n, result.recall, result.precision, result.map50) == (2, 1.0, 1.0, 1.0)
    assert told == [("evaluate", 1, 2), ("evaluate", 2, 2)]


def test_refuses_to_measure_on_nothing() -> None:
    """Scenes without a box say nothing."""
    with pytest.raises(BuildError, match="no boxed sign"):
        measure(marks(), [Scene("a", marked(), no_boxes(), (), True)])


def test_tells_the_outputs_apart() -> None:
    """By their shapes, in whatever order the converter left them."""
    found = ends((MODELS / "marks.tflite").read_bytes(), 2)
    contract: Contract = marks_contract()
    assert (found.input, found.scores, found.boxes) == (contract.input, contract.output, contract.boxes)


def test_refuses_a_model_of_another_kind() -> None:
    """A reader is no detector; a contract of another model is refused."""
    with pytest.raises(BuildError, match="outputs"):
        ends((MODELS / "quadrants.tflite").read_bytes(), 4)
    with pytest.raises(BuildError, match="not a detector"):
        Detector((MODELS / "marks.tflite").read_bytes(), marks_contract(boxes=None, detection=None))
    with pytest.raises(BuildError, match="not the one that the contract describes"):
        Detector((MODELS / "quadrants.tflite").read_bytes(), marks_contract())
