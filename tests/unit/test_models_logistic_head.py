"""The lab's way: a scikit-learn logistic regression that is the last layer of one TFLite graph."""

from pathlib import Path

import numpy as np
import pytest

from fleetctl.errors import BuildError
from fleetctl.manifest.schema import (
    Architecture,
    ArchitectureName,
    Head,
    Model,
    RenderedDataset,
    Task,
    VariantName,
    Weights,
)
from fleetctl.models import datasets, evaluate, logistic_head, network, quantize, runtime
from fleetctl.models.reader import emphasis, prepare_all, train

# TensorFlow 2.15 and its Keras use what later Pythons and libraries deprecate.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:keras"),
]

LAB = Model(
    "lab",
    Task.CLASSIFICATION,
    RenderedDataset(samples_per_sign=40, signs=("N5", "N35", "O49", "S29")),
    Architecture(
        ArchitectureName.EFFICIENTNET_LITE0,
        input=(64, 48, 1),
        blocks=8,
        weights=Weights.IMAGENET,
        head=Head.LOGISTIC_REGRESSION,
    ),
)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_the_layer_decides_as_scikit_learn_does(classes: int) -> None:
    """Features of any scale, one of them constant: the dense layer's best logit is scikit-learn's answer."""
    rng = np.random.default_rng(classes)
    targets = np.arange(200, dtype=np.int32) % classes
    features = (rng.normal(size=(200, 12)) + 0.5 * targets[:, None]) * 10.0 ** np.arange(-4, 8)
    features[:, 3] = 7.0
    features = features.astype(np.float32)

    head = logistic_head.fit(features, targets, rng.integers(1, 4, 200))
    kernel, bias = head.as_dense()

    assert head.predict(features).tolist() == (features @ kernel + bias).argmax(axis=1).tolist()


def test_features_that_are_no_numbers_are_refused() -> None:
    """A network that overflows gives nothing to learn from."""
    features = np.array([[1.0], [np.nan]], np.float32)

    with pytest.raises(BuildError, match="not all numbers"):
        logistic_head.fit(features, np.array([0, 1], np.int32))


def test_a_regression_without_end_is_refused() -> None:
    """What scikit-learn only warns of would be a head that is not the best one."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 20)).astype(np.float32)

    with pytest.raises(BuildError, match="did not settle in 1 iterations"):
        logistic_head.fit(features, np.arange(300, dtype=np.int32) % 5, iterations=1)


@pytest.mark.slow
def test_one_graph_answers_as_scikit_learn_does(tmp_path: Path) -> None:
    """From photo to sign, the float32 TFLite model and scikit-learn over the same features never differ."""
    split = datasets.load(LAB.dataset, base=tmp_path, cache=tmp_path)
    trained = train(LAB, split, workdir=tmp_path)
    tflite = quantize.convert(LAB, trained, VariantName.FLOAT32, split.train)
    scores = evaluate.scores(
        tflite, trained.labels, trained.preprocess, *runtime.tensors(tflite), split.evaluation.images
    )

    features = network.features(LAB.architecture)
    taught, asked = (
        logistic_head.seen(features, prepare_all(samples, trained.preprocess))
        for samples in (split.train, split.evaluation)
    )
    targets = np.array([trained.labels.index(label) for label in split.train.labels], np.int32)
    expected = logistic_head.fit(taught, targets, emphasis(split.train).repeats).predict(asked)

    assert expected.tolist() == scores.argmax(axis=1).tolist()
    right = [trained.labels[i] == label for i, label in zip(expected, split.evaluation.labels, strict=True)]
    assert np.mean(right) > 0.8
