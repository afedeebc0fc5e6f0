"""Whether two lists of detections show the same scene: forgiving of noise, and of nothing else."""

import copy
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from any_json import spoiled
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tiny_detector import marks_contract

from fleetctl.artifact import Tensor
from fleetctl.device import boxes, scenes
from fleetctl.device.judge import FAILED, INCONCLUSIVE, PASSED, judge
from fleetctl.device.scenes import Detection, Terms, difference

Json = dict[str, Any]

TERMS = Terms(min_score=0.5, max_iou=0.5, score_tolerance=0.15)
LABELS = ("G17", "M17", "N35", "D21")


def at(label: str, score: float, left: float, top: float, side: float = 40.0) -> Detection:
    return Detection(label, score, (left, top, left + side, top + side))


def agree(golden: list[Detection], found: list[Detection], terms: Terms = TERMS) -> bool:
    return difference(golden, found, terms) == ""


SCENE = [at("G17", 0.9, 0, 0), at("M17", 0.8, 100, 0), at("N35", 0.7, 100, 100)]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (SCENE, ""),
        (SCENE[::-1], ""),
        (SCENE[:2], "N35 (0.70) at [100, 100, 140, 140] is missing"),
        ([], "G17 (0.90) at [0, 0, 40, 40] is missing"),
        ([*SCENE, at("D21", 0.9, 300, 0)], "D21 (0.90) at [300, 0, 340, 40] was not to be found"),
        ([at("M17", 0.9, 0, 0), *SCENE[1:]], "G17 (0.90) at [0, 0, 40, 40] is missing"),  # another sign
        ([at("G17", 0.7, 0, 0), *SCENE[1:]], "G17 (0.90) at [0, 0, 40, 40] is missing"),  # another score
        ([at("G17", 0.9, 14, 0), *SCENE[1:]], "G17 (0.90) at [0, 0, 40, 40] is missing"),  # IoU 0.48
        ([at("G17", 0.9, 13, 0), *SCENE[1:]], ""),  # IoU 0.51
        ([at("G17", 0.76, 0, 0), *SCENE[1:]], ""),
        ([*SCENE, at("D21", 0.64, 300, 0)], ""),  # near the threshold: may appear
        ([*SCENE, SCENE[0]], "the answer has boxes that suppression would not have left"),  # told twice
    ],
)
def test_what_agrees(found: list[Detection], said: str) -> None:
    """Same signs at the same places with nearly the same scores, and nothing besides."""
    assert said == difference(SCENE, found, TERMS)


def test_what_is_near_the_threshold_may_vanish() -> None:
    """A golden detection that another board may score too low proves nothing."""
    assert agree([*SCENE, at("D21", 0.64, 300, 0)], SCENE)
    assert not agree([*SCENE, at("D21", 0.66, 300, 0)], SCENE)


def test_suppression_may_decide_the_other_way() -> None:
    """Of two rivals with nearly the same score another board may keep the other; then a third one appears."""
    a, b, c = at("G17", 0.80, 0, 0), at("G17", 0.79, 10, 0), at("G17", 0.75, 22, 0)
    assert agree([a, c], [b])  # a took b away; here b took a and c away
    assert agree([b], [a, c])


def test_two_boxes_that_nearly_suppress_each_other() -> None:
    """An IoU of 0.49 on one board is 0.51 on another, and the weaker of the two is gone."""
    strong, weak = at("G17", 0.9, 0, 0), at("M17", 0.7, 14, 0)
    assert agree([strong, weak], [strong])
    assert not agree([strong, weak], [weak])  # the stronger one cannot have been suppressed


def test_a_scene_moved_as_a_whole_finds_no_excuse() -> None:
    """Boxes that overlap the golden ones by too little do not excuse each other."""
    assert not agree(
        SCENE, [Detection(d.label, d.score, at("", 0, d.box[0] + 15, d.box[1]).box) for d in SCENE]
    )


detections = st.builds(
    at,
    st.sampled_from(LABELS[:2]),
    st.sampled_from([0.5, 0.6, 0.66, 0.7, 0.8, 0.95]),
    st.integers(0, 12).map(lambda n: 9.0 * n),
    st.integers(0, 6).map(lambda n: 9.0 * n),
)
scene_lists = st.lists(detections, max_size=8)


@given(scene_lists, scene_lists, st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_agreement_is_symmetric_and_blind_to_order(
    one: list[Detection], other: list[Detection], random: Any
) -> None:
    """Which list is which, and the order of either, change nothing."""
    said = agree(one, other)
    assert agree(other, one) == said
    shuffled = copy.copy(one), copy.copy(other)
    for scene in shuffled:
        random.shuffle(scene)
    assert agree(*shuffled) == said


@given(scene_lists)
@settings(deadline=None)
def test_a_scene_agrees_with_itself(scene: list[Detection]) -> None:
    """If suppression could have left it at all."""
    found = np.array([one.box for one in scene], np.float32).reshape(-1, 4)
    kept = boxes.suppress(found, np.array([one.score for one in scene]), 0.5, 300)
    assert agree([scene[i] for i in kept], [scene[i] for i in kept])


def one_to_one(golden: list[Detection], found: list[Detection]) -> bool:
    """The plain rule where no boxes are near each other: some pairing covers all that is sure."""

    def fits(g: Detection, f: Detection) -> bool:
        return (
            g.label == f.label and abs(g.score - f.score) <= 0.15 + 1e-6 and scenes.iou(g.box, f.box) >= 0.5
        )

    def covers(one: list[Detection], other: list[Detection]) -> bool:
        matched: dict[int, int] = {}

        def augment(i: int, seen: set[int]) -> bool:
            for j in range(len(other)):
                if j not in seen and fits(one[i], other[j]):
                    seen.add(j)
                    if j not in matched or augment(matched[j], seen):
                        matched[j] = i
                        return True
            return False

        return all(augment(i, set()) for i in range(len(one)) if one[i].score > 0.65 + 1e-6)

    return covers(golden, found) and covers(found, golden)


apart = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(LABELS[:2]), st.sampled_from([0.55, 0.65, 0.7, 0.8, 0.9])),
    max_size=4,
    unique_by=lambda drawn: drawn[0],
)


@given(apart, apart, st.lists(st.integers(0, 20), min_size=4, max_size=4))
@settings(max_examples=300, deadline=None)
def test_where_signs_lie_apart_it_is_one_to_one(one: Any, other: Any, shifts: list[int]) -> None:
    """Without rivals, agreement is a pairing by label, score and box, each used once."""
    golden = [at(label, score, 100 * place, 0) for place, label, score in one]
    found = [at(label, score, 100 * place + shifts[place], 0) for place, label, score in other]
    assert one_to_one(golden, found) == agree(golden, found)


# A detector that is written in Python: signs on a wall, several anchors for each, and a board's noise.

SIDE, STRIDE = 160, 16
SIZES = [[40.0, 32.0], [32.0, 40.0], [40.0, 40.0]]
COUNT = (SIDE // STRIDE) ** 2 * len(SIZES)
SCORES, BOXES = (
    Tensor((1, COUNT, len(LABELS)), "uint8", 1 / 256, 0),
    Tensor((1, COUNT, 4), "uint8", 0.08, 128),
)
CONTRACT = marks_contract(
    labels=LABELS,
    preprocess={"shape": [SIDE, SIDE, 1], "fit": "contain", "smooth": 0},
    input=Tensor((1, SIDE, SIDE, 1), "uint8", 1.0, 0),
    output=SCORES,
    boxes=BOXES,
    golden=(),
    detection={
        "maps": [{"stride": STRIDE, "anchors": SIZES}],
        "scales": [10, 10, 5, 5],
        "min_score": 0.5,
        "max_iou": 0.5,
        "most": 300,
        "overlap": 64,
    },
).to_mapping()
WALL = np.zeros((SIDE, SIDE), np.uint8)
ANCHORS = boxes.anchors(CONTRACT["detection"], SIDE, SIDE)
NOISE = 17  # steps of the stored values: as much as XNNPACK on arm64 and on x86-64 were seen to differ

Raw = tuple[Any, Any]


def wall(seed: int, signs: int) -> Raw:
    """What a detector says of a wall: each sign lights up the anchors near it, each with a box of its own."""
    random = np.random.default_rng(seed)
    scores = random.integers(0, 60, (COUNT, len(LABELS)))
    encoded = random.normal(0, 4, (COUNT, 4))
    cells = random.permutation(9)[:signs]
    for cell in cells:
        top, left = (
            (int(cell) // 3) * 52 + random.integers(0, 6),
            (int(cell) % 3) * 52 + random.integers(0, 6),
        )
        height, width = random.uniform(30, 46, 2)
        centre = top + height / 2, left + width / 2
        label, peak = random.integers(len(LABELS)), random.uniform(140, 250)
        for anchor in np.flatnonzero(np.abs(ANCHORS[:, :2] - centre).max(axis=1) < 14):
            ay, ax, h, w = ANCHORS[anchor]
            far = np.abs(ANCHORS[anchor, :2] - centre).max()
            scores[anchor, label] = peak - 4 * far
            exact = [
                (centre[0] - ay) / h * 10,
                (centre[1] - ax) / w * 10,
                5 * np.log(height / h),
                5 * np.log(width / w),
            ]
            encoded[anchor] = exact + random.normal(0, 0.15, 4)
    return scores, np.rint(encoded / 0.08) + 128


def as_stored(raw: Raw) -> Raw:
    return tuple(np.clip(part, 0, 255).astype(np.uint8)[np.newaxis] for part in raw)  # type: ignore[return-value]


def found_by(raw: Raw, contract: Mapping[str, Any] = CONTRACT) -> list[Detection]:
    """The scene, by the very path a board takes, in the digits a receipt has."""
    return [
        Detection(one["sign"], round(one["score"], 4), tuple(round(side, 1) for side in one["box"]))
        for one in boxes.detect(WALL, contract, lambda _: as_stored(raw))
    ]


def noisy(raw: Raw, seed: int) -> Raw:
    """The same network on another board."""
    random = np.random.default_rng(seed)
    scores, encoded = raw
    return (
        scores + random.integers(-NOISE, NOISE + 1, scores.shape),
        encoded + random.integers(-NOISE, NOISE + 1, encoded.shape),
    )


walls = st.builds(wall, st.integers(0, 1 << 30), st.integers(1, 9))


@given(walls, st.integers(0, 1 << 30))
@settings(max_examples=200, deadline=None)
def test_a_good_board_never_fails(raw: Raw, seed: int) -> None:
    """Noise of the size that quantization makes on every score and every box leaves agreement as it is."""
    assert difference(found_by(raw), found_by(noisy(raw, seed)), TERMS) == ""


def relabelled(raw: Raw) -> Raw:
    return np.roll(raw[0], 1, axis=1), raw[1]


def test_a_sharp_eye_over_all_golden_scenes() -> None:
    """Faults that some walls do not show are seen over the sixteen of a release."""
    for fault in (transposed, next_anchor):
        walls_of_a_release = [wall(seed, 6) for seed in range(16)]
        agreeing = sum(agree(found_by(raw), found_by(fault(raw))) for raw in walls_of_a_release)
        assert agreeing / 16 < 0.5, fault.__name__


def transposed(raw: Raw) -> Raw:
    return raw[0], raw[1][:, [1, 0, 3, 2]]


def moved(raw: Raw) -> Raw:
    return raw[0], raw[1] + np.array([80, 0, 0, 0])


def enlarged(raw: Raw) -> Raw:
    return raw[0], raw[1] + np.array([0, 0, 40, 40])


def dimmed(raw: Raw) -> Raw:
    return raw[0] * 0.7, raw[1]


def next_anchor(raw: Raw) -> Raw:
    return raw[0], np.roll(raw[1], 1, axis=0)


def blind(raw: Raw) -> Raw:
    return np.zeros_like(raw[0]), raw[1]


def ranting(raw: Raw) -> Raw:
    return np.maximum(raw[0], 190), raw[1]


FAULTS: list[Callable[[Raw], Raw]] = [relabelled, moved, enlarged, dimmed, blind, ranting]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@given(raw=st.builds(wall, st.integers(0, 1 << 30), st.integers(5, 9)), seed=st.integers(0, 1 << 30))
@settings(max_examples=40, deadline=None)
def test_a_bad_board_fails(fault: Callable[[Raw], Raw], raw: Raw, seed: int) -> None:
    """Wrong labels, wrong boxes, faint scores, blindness and hallucination are each seen on a single wall.

    Not on one whose few signs lie in its corners: the edge cuts a box that is too large back to its size.
    """
    golden = found_by(raw)
    assume(len(scenes.sure(golden, TERMS)) >= 4)
    assert difference(golden, found_by(fault(noisy(raw, seed))), TERMS) != ""


@pytest.mark.parametrize(
    "change",
    [{"scales": [5, 5, 2, 2]}, {"scales": [10, 10, 1, 1]}, {"min_score": 0.9}, {"max_iou": 1.0}],
    ids=["scales", "sizes", "threshold", "suppression"],
)
def test_terms_that_are_not_the_models_fail(change: Json) -> None:
    """Boxes decoded by another contract's terms are not the golden ones."""
    other = {**CONTRACT, "detection": {**CONTRACT["detection"], **change}}
    golden = [found_by(wall(seed, 9)) for seed in range(8)]
    assert all(scenes.sure(scene, TERMS) for scene in golden)
    found = [found_by(wall(seed, 9), other) for seed in range(8)]
    assert all(not agree(want, got) for want, got in zip(golden, found, strict=True))


# Receipts, as untrusted as any.

ORDERED = {"board": "luxor-01", "release": "a" * 64, "model_sha256": "b" * 64}
SMOKE: Json = {"samples": 4, "min_agreement": 0.75, "max_p95_ms": 60, "accelerator": "none"}


def told(scene: list[Detection]) -> list[Json]:
    return [{"label": one.label, "score": one.score, "box": list(one.box)} for one in scene]


GOLDEN = [told(SCENE), told(SCENE[:1]), [], told(SCENE[1:])]
TASK: Json = {
    "task": "detection",
    "golden": GOLDEN,
    "score_tolerance": 0.15,
    "detection": {"min_score": 0.5, "max_iou": 0.5, "most": 300},
}
RECEIPT: Json = {
    "board": "luxor-01",
    "release": "a" * 64,
    "loaded": {"release": "a" * 64, "model_sha256": "b" * 64, "pid": 7},
    "accelerator": {"wanted": "none", "used": "cpu", "present": False},
    "answers": [{"detections": scene, "elapsed_ms": 40.0} for scene in GOLDEN],
    "health": {"temperature_c": 55.0, "throttled": False},
}


def judged(change: Callable[[Json], object] = id, **smoke: Any) -> Json:
    """The judgement of a receipt that passes but for `change`."""
    receipt = copy.deepcopy(RECEIPT)
    change(receipt)
    return judge(TASK, {**SMOKE, **smoke}, receipt, ORDERED)


def test_a_faithful_receipt_passes() -> None:
    """All scenes agree: no reasons, and every check is listed."""
    judgement = judged()
    assert (judgement["outcome"], judgement["reasons"]) == (PASSED, [])
    assert [check["name"] for check in judgement["checks"]][5:] == [
        "answers",
        "answers well-formed",
        "golden",
        "agreement",
        "latency",
    ]


def answers(number: int, value: Any) -> Callable[[Json], object]:
    return lambda receipt: receipt["answers"][number].update(detections=value)


BOX = [0.0, 0.0, 9.0, 9.0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: r["answers"].pop(), "3 of 4 golden samples were answered"),
        (
            lambda r: r["answers"].__setitem__(1, {"error": "x"}),
            "answer 2 is no list of labels, finite scores and",
        ),
        (lambda r: r["answers"].__setitem__(1, None), "answer 2 is no list"),
        (answers(0, "G17"), "answer 1 is no list"),
        (answers(0, [{"label": "G17", "score": 0.9}]), "answer 1 is no list"),
        (answers(0, [{"label": "G17", "score": float("nan"), "box": BOX}]), "answer 1 is no list"),
        (answers(0, [{"label": "G17", "score": 0.9, "box": [0, 0, float("inf"), 9]}]), "answer 1 is no list"),
        (answers(0, [{"label": "G17", "score": 0.9, "box": [9, 0, 0, 9]}]), "answer 1 is no list"),
        (answers(0, [{"label": 17, "score": 0.9, "box": BOX}]), "answer 1 is no list"),
        (answers(0, [{"label": "G17", "score": 0.9, "box": BOX}] * 301), "answer 1 is no list"),
        (
            lambda r: [a.update(elapsed_ms=71.04) for a in r["answers"]],
            "p95 latency 71.0 ms is over the budget",
        ),
        (lambda r: r["answers"][0].pop("elapsed_ms"), "an answer lacks its time"),
    ],
)
def test_a_faulty_receipt_fails(change: Callable[[Json], object], reason: str) -> None:
    """Each way in which scenes can be wrong is a failure, with its reason."""
    judgement = judged(change)
    assert judgement["outcome"] == FAILED
    assert any(reason in said for said in judgement["reasons"])


def test_disagreement_counts_by_share_and_is_named() -> None:
    """One scene of four may differ at 75 %, two may not; the first difference is told."""
    assert judged(answers(0, []))["outcome"] == PASSED

    def two(receipt: Json) -> None:
        receipt["answers"][1]["detections"] = receipt["answers"][3]["detections"] = []

    agreement = "2 of 4 golden answers agree; at least 75% have to"
    assert judged(two)["reasons"] == [f"{agreement}: in sample 2 G17 (0.90) at [0, 0, 40, 40] is missing"]


def test_heat_excuses_slowness_of_detectors_too() -> None:
    """A hot board that is too slow says nothing about its release."""

    def hot(receipt: Json) -> None:
        receipt["health"]["temperature_c"] = 84.0
        for answer in receipt["answers"]:
            answer["elapsed_ms"] = 100.0

    assert judged(hot)["outcome"] == INCONCLUSIVE


@pytest.mark.parametrize(
    "terms",
    [
        {"golden": [[], [], [], []]},
        {"golden": [told([at("G17", 0.6, 0, 0)]), [], [], []]},
        {"golden": ["G17", None, 4, {}]},
        {"detection": None},
        {"detection": {"min_score": "half", "max_iou": 0.5, "most": 300}},
        {"detection": {"min_score": 0.5, "max_iou": 0.5}},
        {"score_tolerance": None},
    ],
)
def test_nothing_to_prove_by_is_no_proof(terms: Json) -> None:
    """Golden scenes without one sure detection, or without terms, pass nobody, not even blank answers."""
    receipt = copy.deepcopy(RECEIPT)
    assert judge({**TASK, **terms}, SMOKE, receipt, ORDERED)["outcome"] == FAILED
    for answer in receipt["answers"]:
        answer["detections"] = []
    assert judge({**TASK, **terms}, SMOKE, receipt, ORDERED)["outcome"] == FAILED


@given(spoiled(RECEIPT["answers"]))
@settings(max_examples=200, deadline=None)
def test_untrusted_scenes_never_raise(answers: Any) -> None:
    """Any JSON in place of any part of the answers gives an outcome that can itself be written as JSON."""
    judgement = judge(TASK, SMOKE, {**RECEIPT, "answers": answers}, ORDERED)
    assert (judgement["outcome"] == PASSED) == all(check["passed"] for check in judgement["checks"])
    json.dumps(judgement, allow_nan=False)


@pytest.mark.parametrize("step", [0, 1])
def test_a_hostile_answer_costs_little(step: int) -> None:
    """Boxes as wide as the picture, one upon the other or side by side, do not keep the controller busy."""
    crowd = [{"label": "G17", "score": 0.9, "box": [0, step * i, 1e6, step * i + 1]} for i in range(300)]
    begun = time.process_time()
    assert judged(lambda r: [a.update(detections=crowd) for a in r["answers"]])["outcome"] == FAILED
    assert time.process_time() - begun < 2.0
