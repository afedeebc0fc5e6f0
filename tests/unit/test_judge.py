"""What counts as proof: receipts held against a contract, a budget and what was ordered."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from any_json import spoiled
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_board import DEVICE

from fleetctl.device.judge import FAILED, INCONCLUSIVE, PASSED, judge, quantile

Json = dict[str, Any]

LABELS = ["G17", "M17", "N35", "D21"]
CONTRACT: Json = {"golden": [{"label": label, "score": 0.9} for label in LABELS], "score_tolerance": 0.07}
SMOKE: Json = {"samples": 4, "min_agreement": 0.75, "max_p95_ms": 60, "accelerator": "none"}
ORDERED = {"board": "luxor-01", "release": "a" * 64, "model_sha256": "b" * 64}
RECEIPT: Json = {
    "board": "luxor-01",
    "release": "a" * 64,
    "loaded": {"release": "a" * 64, "model_sha256": "b" * 64, "pid": 7},
    "accelerator": {"wanted": "none", "used": "cpu", "present": False},
    "answers": [{"label": label, "score": 0.92, "elapsed_ms": 4.0} for label in LABELS],
    "health": {"temperature_c": 55.0, "throttled": False},
}


def judged(change: Callable[[Json], object] = id, **smoke: Any) -> Json:
    """The judgement of a receipt that passes but for `change`."""
    receipt = copy.deepcopy(RECEIPT)
    change(receipt)
    return judge(CONTRACT, {**SMOKE, **smoke}, receipt, ORDERED)


def test_a_faithful_receipt_passes() -> None:
    """Right release, right model, right answers, fast enough: no reasons, and every check is listed."""
    judgement = judged()
    assert (judgement["outcome"], judgement["reasons"]) == (PASSED, [])
    assert [check["name"] for check in judgement["checks"]] == [
        "board",
        "release",
        "loaded",
        "model",
        "accelerator",
        "answers",
        "answers well-formed",
        "agreement",
        "scores",
        "latency",
    ]


def answer(number: int, **fields: Any) -> Callable[[Json], object]:
    return lambda receipt: receipt["answers"][number].update(fields)


FAILURES: list[tuple[str, Callable[[Json], object], str]] = [
    (
        "another board",
        lambda r: r.update(board="luxor-02"),
        "the receipt is from board luxor-02, not luxor-01",
    ),
    ("another release", lambda r: r.update(release="c" * 64), "the receipt is about release cccccccccccc"),
    ("old process", lambda r: r["loaded"].update(release="c" * 64), "the serving process runs release cccc"),
    (
        "other model",
        lambda r: r["loaded"].update(model_sha256="d" * 64),
        "the serving process loaded model dddd",
    ),
    ("nothing loaded", lambda r: r.pop("loaded"), "the serving process runs release nothing"),
    ("loaded is text", lambda r: r.update(loaded="a" * 64), "the serving process runs release nothing"),
    ("short list", lambda r: r["answers"].pop(), "3 of 4 golden samples were answered"),
    ("no answers", lambda r: r.update(answers=[]), "0 of 4 golden samples were answered"),
    ("answers are text", lambda r: r.update(answers="G17"), "0 of 4 golden samples were answered"),
    ("too many answers", lambda r: r["answers"].append({}), "5 of 4 golden samples were answered"),
    ("error answer", lambda r: r["answers"].__setitem__(2, {"error": "x"}), "answer 3 could not be had: x"),
    ("answer is null", lambda r: r["answers"].__setitem__(0, None), "answer 1 lacks a label"),
    ("NaN", answer(1, score=float("nan")), "answer 2 lacks a label or a finite score"),
    ("infinity", answer(1, score=float("inf")), "answer 2 lacks a label or a finite score"),
    ("score is text", answer(1, score="0.92"), "answer 2 lacks a label or a finite score"),
    ("score is true", answer(1, score=True), "answer 2 lacks a label or a finite score"),
    ("score is vast", answer(1, score=10**400), "answer 2 lacks a label or a finite score"),
    ("score far off", answer(1, score=0.5), "a score is 0.4 away from the golden one; 0.07 is tolerated"),
    ("NaN time", answer(0, elapsed_ms=float("nan")), "an answer lacks its time"),
    ("no time", lambda r: r["answers"][0].pop("elapsed_ms"), "an answer lacks its time"),
    ("negative time", answer(0, elapsed_ms=-1), "an answer lacks its time"),
    (
        "slow",
        lambda r: [a.update(elapsed_ms=71.04) for a in r["answers"]],
        "p95 latency 71.0 ms is over the budget",
    ),
    (
        "odd accelerator",
        lambda r: r["accelerator"].update(used="gpu"),
        "the accelerator is none, gpu was used",
    ),
]


@pytest.mark.parametrize(("change", "reason"), [f[1:] for f in FAILURES], ids=[f[0] for f in FAILURES])
def test_a_faulty_receipt_fails(change: Callable[[Json], object], reason: str) -> None:
    """Each way a receipt can be wrong is a failure, with its reason."""
    judgement = judged(change)
    assert judgement["outcome"] == FAILED
    assert any(reason in said for said in judgement["reasons"])


def test_a_wrong_answer_counts_by_share() -> None:
    """One wrong answer of four is within an agreement of 75 %, two are not; its score does not count."""
    assert judged(answer(0, label="X", score=0.1))["outcome"] == PASSED

    def two(receipt: Json) -> None:
        receipt["answers"][0]["label"] = receipt["answers"][1]["label"] = "X"

    judgement = judged(two)
    assert judgement["outcome"] == FAILED
    assert judgement["reasons"] == ["2 of 4 golden answers agree; at least 75% have to"]


@pytest.mark.parametrize(
    ("health", "outcome", "reason"),
    [
        ({"temperature_c": 84.0}, INCONCLUSIVE, "the board is at 84 C"),
        ({"throttled": True}, INCONCLUSIVE, "the board is throttled"),
        ({"temperature_c": 80.0, "throttled": False}, FAILED, "p95 latency"),
        ({"temperature_c": float("inf"), "throttled": 1}, FAILED, "p95 latency"),
        (None, FAILED, "p95 latency"),
    ],
)
def test_heat_excuses_slowness(health: object, outcome: str, reason: str) -> None:
    """A hot or throttled board that is too slow says nothing about its release."""

    def slow(receipt: Json) -> None:
        receipt["health"] = health
        for one in receipt["answers"]:
            one["elapsed_ms"] = 100.0

    judgement = judged(slow)
    assert judgement["outcome"] == outcome
    assert judgement["reasons"][0].startswith(reason)


def test_heat_excuses_nothing_else() -> None:
    """A hot board that answers wrongly has failed."""

    def hot_and_wrong(receipt: Json) -> None:
        receipt["health"] = {"temperature_c": 90.0}
        for one in receipt["answers"]:
            one.update(elapsed_ms=100.0, label="X")

    assert judged(hot_and_wrong)["outcome"] == FAILED


@pytest.mark.parametrize(
    ("accelerator", "outcome"),
    [
        ({"used": "edgetpu", "present": True}, PASSED),
        ({"used": "cpu", "present": True}, FAILED),
        ({"used": "cpu", "present": False}, INCONCLUSIVE),
        ({"used": "cpu", "present": None}, FAILED),
        ({"used": None}, FAILED),
        (None, FAILED),
    ],
)
def test_a_required_accelerator(accelerator: object, outcome: str) -> None:
    """Falling back to the CPU fails; only a board that has no accelerator at all could not be asked."""
    assert judged(lambda r: r.update(accelerator=accelerator), accelerator="required")["outcome"] == outcome


def test_a_refusal_for_want_of_an_accelerator() -> None:
    """A service that rightly refused to start without its accelerator leaves no answers, and no verdict."""

    def refused(receipt: Json) -> None:
        receipt.update(loaded=None, answers=[], accelerator={"used": None, "present": False})

    assert judged(refused, accelerator="required")["outcome"] == INCONCLUSIVE
    assert judged(refused, accelerator="preferred")["outcome"] == FAILED


def test_preferred_may_fall_back() -> None:
    """`preferred` is content with the CPU."""
    assert judged(accelerator="preferred")["outcome"] == PASSED


@pytest.mark.parametrize("broken", [None, [], "text", 1, {}, {"golden": []}, {"golden": "x"}])
def test_nothing_to_prove_by_is_no_proof(broken: Any) -> None:
    """A contract without golden answers, or a budget without limits, passes nobody."""
    assert judge(broken, SMOKE, RECEIPT, ORDERED)["outcome"] == FAILED
    assert judge(CONTRACT, broken, RECEIPT, ORDERED)["outcome"] == FAILED
    assert judge(CONTRACT, SMOKE, broken, ORDERED)["outcome"] == FAILED
    assert judge(CONTRACT, SMOKE, RECEIPT, broken)["outcome"] == FAILED


@pytest.mark.parametrize(("budget", "said"), [(8, "8 ms"), (7.5, "7.5 ms"), (2000, "2000 ms")])
def test_a_budget_is_told_as_the_manifest_has_it(budget: float, said: str) -> None:
    """No budget is told with an exponent."""
    judgement = judged(lambda r: [a.update(elapsed_ms=1e4) for a in r["answers"]], max_p95_ms=budget)

    assert judgement["reasons"] == [f"p95 latency 10000.0 ms is over the budget of {said}"]


def test_no_limit_on_latency() -> None:
    """Where the manifest sets no budget for this kind of board, times must still be there."""
    assert judged(answer(0, elapsed_ms=1e9), max_p95_ms=None)["outcome"] == PASSED
    assert judged(answer(0, elapsed_ms=None), max_p95_ms=None)["outcome"] == FAILED


@given(spoiled(RECEIPT))
@settings(max_examples=300, deadline=None)
def test_untrusted_receipts_never_raise_and_never_pass_by_chance(receipt: Json) -> None:
    """Any JSON in place of any part of a receipt gives an outcome that can itself be written as JSON."""
    judgement = judge(CONTRACT, SMOKE, receipt, ORDERED)
    assert (judgement["outcome"] == PASSED) == all(check["passed"] for check in judgement["checks"])
    json.dumps(judgement, allow_nan=False)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0, 1))
def test_quantiles_are_numpys(values: list[float], q: float) -> None:
    """The standard library's way to a quantile gives what numpy gives."""
    assert quantile(values, q) == pytest.approx(float(np.quantile(values, q)), rel=1e-9, abs=1e-9)


def test_as_a_script() -> None:
    """The board runs it as a program of its own: JSON in, JSON out."""
    asked = {"contract": CONTRACT, "smoke": SMOKE, "receipt": RECEIPT, "ordered": ORDERED}
    argv = [sys.executable, "-I", str(DEVICE / "judge.py")]
    done = subprocess.run(argv, input=json.dumps(asked), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == judged()
