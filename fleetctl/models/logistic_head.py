"""A scikit-learn logistic regression over a network's features, and the same as the network's last layer.

Features of a network that learnt ImageNet, and a linear classifier over them, are read with no training of
the network at all. The regression learns in scikit-learn, on features scaled to mean 0 and deviation 1; a
dense layer with a softmax computes the very same, with the scaling folded into its weights.
"""

import warnings
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from fleetctl.errors import BuildError
from fleetctl.models.progress import Progress, silent
from fleetctl.models.tensorflow import tensorflow

_STRENGTH = 0.03  # scikit-learn's C; see docs/reader.md for how it was chosen
_ITERATIONS = 1000
_BATCH = 64
# Features that never vary say nothing; their deviation of 0 must not become a factor.
_SMALLEST_DEVIATION = 1e-6


class LogisticHead(Struct, frozen=True):
    """A fitted `sklearn.linear_model.LogisticRegression` over features minus `mean`, over `deviation`."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    regression: Any

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.int32]:
        """scikit-learn's answers: the index of each row's class, (N,)."""
        scaled = (features - self.mean) / self.deviation
        return np.asarray(self.regression.predict(scaled), np.int32)

    def as_dense(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Kernel (features, classes) and bias (classes,) of a dense layer with the same decisions.

        Two classes have one row of coefficients in scikit-learn; as logits they are 0 and that row.
        """
        coefficients, intercept = self.regression.coef_, self.regression.intercept_
        if len(coefficients) == 1:
            coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
            intercept = np.concatenate([np.zeros_like(intercept), intercept])
        kernel = (coefficients / self.deviation).T
        return kernel.astype(np.float32), (intercept - self.mean @ kernel).astype(np.float32)


def seen(network: Any, images: NDArray[np.uint8], progress: Progress = silent) -> NDArray[np.float32]:
    """What a network sees in prepared images: uint8 (N, H, W, C) to float32 (N, F).

    `progress` hears stage `features` after each batch, counted in images.
    """
    rows = []
    for start in range(0, len(images), _BATCH):
        batch = images[start : start + _BATCH].astype(np.float32) / np.float32(255)
        rows.append(np.asarray(network(batch, training=False), np.float32))
        progress("features", min(start + _BATCH, len(images)), len(images))
    return np.concatenate(rows)


def attach(network: Any, head: LogisticHead) -> Any:
    """A Keras model from images to logits, whose last layer is the head."""
    tf = tensorflow()
    kernel, bias = head.as_dense()
    dense = tf.keras.layers.Dense(len(bias), name="logits")
    model = tf.keras.Model(network.input, dense(network.output))
    dense.set_weights([kernel, bias])
    return model


def fit(
    features: NDArray[np.float32],
    targets: NDArray[np.int32],
    weights: NDArray[Any] | None = None,
    *,
    iterations: int = _ITERATIONS,
) -> LogisticHead:
    """Learn which features are which sign's; the same arguments give the same head.

    Args:
        features: (N, F), finite.
        targets: index of each row's class, (N,); every class from 0 on occurs.
        weights: how much each row counts, (N,); None is 1.

    Raises:
        BuildError: features that are no numbers, or a regression that finds no end.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if not np.isfinite(features).all():
        raise BuildError("the network's features are not all numbers")
    wide = features.astype(np.float64)
    mean, deviation = wide.mean(axis=0), wide.std(axis=0)
    deviation = np.where(deviation < _SMALLEST_DEVIATION, 1.0, deviation)
    regression = LogisticRegression(C=_STRENGTH, max_iter=iterations)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            regression.fit((wide - mean) / deviation, targets, sample_weight=weights)
        except ConvergenceWarning:
            raise BuildError(
                f"the logistic regression did not settle in {iterations} iterations",
                hint="use more photos, or fewer blocks of the network",
            ) from None
    return LogisticHead(mean, deviation, regression)
