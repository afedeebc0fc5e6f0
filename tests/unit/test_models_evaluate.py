"""Counting right answers."""

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_tflite import Net, encode

from fleetctl.artifact import GoldenAnswer, Tensor
from fleetctl.errors import BuildError, ToolchainMissing
from fleetctl.models import evaluate, runtime
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

    with pytest.raises(BuildError, match="no labelled photo") as refused:
        evaluate.evaluate(b"", LABELS, {}, tensor, tensor, samples)

    assert refused.value.hint.startswith("give photos whose sign is known")


def test_labels_must_fit_the_model() -> None:
    """A model with more outputs than labels would answer with names that are not there."""
    output = Tensor((1, 4), "uint8")

    with pytest.raises(BuildError, match="4 scores for 3 labels"):
        evaluate.scores(b"", LABELS, {}, output, output, [])


@pytest.mark.parametrize("weight", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_refused(weight: float) -> None:
    """The first label would be taken for the best, where a board gives no answer at all."""
    net = Net((1, 2, 2, 1), "FLOAT32")
    weights = net.constant(np.full((3, 4), weight), "FLOAT32")
    net.op("FULLY_CONNECTED", (net.input, weights, net.constant(np.zeros(3), "FLOAT32")), (1, 3), "FLOAT32")
    model = encode(net.graph())

    with pytest.raises(BuildError, match="a score that is no number"):
        evaluate.scores(
            model, LABELS, {"shape": [2, 2, 1]}, *runtime.tensors(model), [np.full((2, 2), 9, np.uint8)]
        )


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
