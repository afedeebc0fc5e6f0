"""A reader of six drawn signs that learns in seconds: five layers, and every step of a real build."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fleetctl.artifact import Contract
from fleetctl.manifest.schema import Architecture, Model, RenderedDataset, Smoke, Task, Training, VariantName
from fleetctl.models import datasets, evaluate, golden, quantize, runtime
from fleetctl.models.reader import Trained, prepare_all, preprocess_spec
from fleetctl.models.samples import Samples
from fleetctl.models.tensorflow import tensorflow

SMALL = Model(
    "small",
    Task.CLASSIFICATION,
    RenderedDataset(samples_per_sign=40, signs=("D21", "G17", "M17", "N35", "O1", "X1")),
    Architecture(input=(36, 24, 1)),
    Training(epochs=30, batch_size=32, learning_rate=0.01),
    smoke=Smoke(samples=16),
)


@dataclass(frozen=True)
class Variant:
    """One variant: its file, its contract without golden answers, and its scores (samples, labels)."""

    contract: Contract
    tflite: bytes
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class SmallReader:
    samples: Samples
    variants: dict[VariantName, Variant]

    def scored(self, variant: VariantName) -> list[NDArray[np.float32]]:
        """What golden samples are chosen by: the scores of float32, and of the variant."""
        return [self.variants[VariantName.FLOAT32].scores, self.variants[variant].scores]


def train(folder: Path, *variants: VariantName) -> SmallReader:
    """Train the reader, convert and measure it."""
    split = datasets.load(SMALL.dataset, base=folder, cache=folder)
    trained = _trained(split.train, folder)
    return SmallReader(
        split.evaluation,
        {variant: _variant(trained, variant, split.train, split.evaluation) for variant in variants},
    )


def _trained(learnt: Samples, folder: Path) -> Trained:
    tf = tensorflow()
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()
    layers = tf.keras.layers
    labels = tuple(sorted(learnt.counts))
    spec = preprocess_spec(SMALL.architecture)
    network = tf.keras.Sequential(
        [
            layers.Conv2D(12, 5, strides=2, activation="relu", input_shape=SMALL.architecture.input),
            layers.Conv2D(24, 3, strides=2, activation="relu"),
            layers.Conv2D(32, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(len(labels)),
        ]
    )
    network.compile(
        tf.keras.optimizers.Adam(0.003), tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    images = prepare_all(learnt, spec).astype(np.float32) / 255
    targets = np.array([labels.index(label) for label in learnt.labels])
    network.fit(
        images, targets, epochs=SMALL.training.epochs, batch_size=SMALL.training.batch_size, verbose=0
    )
    weights = folder / "small.keras"
    network.save(weights)
    return Trained(labels, weights, spec)


def _variant(trained: Trained, variant: VariantName, learnt: Samples, kept: Samples) -> Variant:
    tflite = quantize.convert(SMALL, trained, variant, learnt)
    ends = runtime.tensors(tflite)
    contract = Contract(
        SMALL.name, variant.value, SMALL.task.value, trained.labels, trained.preprocess, *ends, (),
        golden.tolerance_floor(variant),
    )  # fmt: skip
    return Variant(
        contract, tflite, evaluate.scores(tflite, trained.labels, trained.preprocess, *ends, kept.images)
    )
