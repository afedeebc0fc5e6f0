"""Counting right answers, and choosing the golden samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fleetctl.artifact import GoldenAnswer, Tensor
from fleetctl.errors import BuildError, ToolchainMissing
from fleetctl.models import evaluate, golden, runtime
from fleetctl.models.samples import Samples

LABELS = ("G17", "M17", "N35")


def test_untaught_signs_count_as_errors() -> None:
    """A photo of a sign the model cannot know is wrong in `top1` and absent from `top1_seen`."""
    measured = evaluate.judge(["G17", "G17", "N35", "Z1"], ["G17", "M17", "N35", "N35"], taught=LABELS)

    assert (measured.n, measured.top1) == (4, 0.5)
    assert (measured.n_seen, measured.top1_seen) == (3, 2 / 3)
    assert measured.per_class == {"G17": (2, 1), "N35": (1, 1), "Z1": (1, 0)}


def test_nothing_to_evaluate_is_an_error() -> None:
    """Photos of UNKNOWN signs alone measure nothing."""
    samples = Samples([np.zeros((4, 4), np.uint8)], ["UNKNOWN"], ["1_UNKNOWN.png"])
    tensor = Tensor((1, 3), "uint8")

    with pytest.raises(BuildError, match="no labelled photo"):
        evaluate.evaluate(b"", LABELS, {}, tensor, tensor, samples)


def test_labels_must_fit_the_model() -> None:
    """A model with more outputs than labels would answer with names that are not there."""
    output = Tensor((1, 4), "uint8")

    with pytest.raises(BuildError, match="4 scores for 3 labels"):
        evaluate.scores(b"", LABELS, {}, output, output, [])


def test_bytes_that_are_no_model_are_refused() -> None:
    """A damaged model ends in one sentence."""
    with pytest.raises(BuildError, match="the model cannot be run"):
        runtime.tensors(b"not a model at all")


def test_a_missing_runtime_says_what_to_install() -> None:
    """Without any TFLite runtime the error names the packages."""
    with pytest.raises(ToolchainMissing, match="no TFLite runtime") as caught:
        runtime.interpreter(b"", runtimes=["absent_runtime.interpreter"])
    assert "tflite-runtime" in caught.value.hint


def scores(*rows: tuple[float, float, float]) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


def test_answers_are_the_best_labels() -> None:
    """The golden answer is the label with the best score, and that score."""
    assert evaluate.answers(scores((0.25, 0.5, 0.25)), LABELS) == [GoldenAnswer("M17", 0.5)]


SURE, UNSURE, WRONG = (0.9, 0.05, 0.05), (0.5, 0.45, 0.05), (0.05, 0.9, 0.05)


def test_golden_samples_are_right_in_every_model_and_by_a_margin() -> None:
    """A sample that one of the models gets wrong, or just so, is passed over while better ones last."""
    truth = ["G17"] * 4
    exact, quantized = scores(SURE, SURE, SURE, SURE), scores(WRONG, UNSURE, SURE, SURE)

    assert golden.choose(truth, LABELS, [exact, quantized], count=2, seed=0) == [2, 3]


def test_golden_samples_cover_the_signs() -> None:
    """One of each sign before a second of any."""
    truth = ["G17"] * 8 + ["M17", "N35"]
    rows = scores(*[SURE] * 8, (0.05, 0.9, 0.05), (0.05, 0.05, 0.9))

    for seed in range(5):
        chosen = golden.choose(truth, LABELS, [rows], count=3, seed=seed)
        assert {truth[i] for i in chosen} == set(LABELS)


def test_too_few_right_answers_are_filled_up_by_confidence() -> None:
    """A poor model still gets golden samples: those it is surest of, whatever it says."""
    rows = scores(UNSURE, SURE, (0.34, 0.33, 0.33), WRONG)

    assert golden.choose(["G17"] * 4, LABELS, [rows], count=3, seed=0) == [0, 1, 3]


@given(st.integers(1, 40), st.integers(1, 20), st.integers(0, 3))
def test_golden_samples_are_distinct_and_seeded(size: int, count: int, seed: int) -> None:
    """As many as were asked for or there are, none twice, and the same for the same seed."""
    rng = np.random.default_rng(size)
    rows = rng.dirichlet([0.3] * 3, size).astype(np.float32)
    truth = [LABELS[i] for i in rng.integers(0, 3, size)]

    chosen = golden.choose(truth, LABELS, [rows], count=count, seed=seed)

    assert len(set(chosen)) == len(chosen) == min(size, count)
    assert chosen == golden.choose(truth, LABELS, [rows], count=count, seed=seed)


def test_golden_samples_have_one_size() -> None:
    """Samples of the commonest size are taken: they travel as one array."""
    images = [np.zeros(size, np.uint8) for size in ((4, 4), (5, 4), (5, 4))]

    assert golden.of_one_size(Samples(images, ["a", "b", "c"], ["1", "2", "3"])).names == ["2", "3"]
