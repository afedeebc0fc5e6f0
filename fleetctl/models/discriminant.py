"""A linear discriminant over the features of a network that has learnt, worked into its last layer.

A last layer that learns by gradients leans towards signs with many samples, and knows of a sign with one
photo little more than that photo. A discriminant (scikit-learn's `LinearDiscriminantAnalysis`) takes of each
sign where its features lie, and of all signs together how features vary, and holds every sign for as likely.
Both are linear, so their mean is one dense layer: nothing is added to the graph.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetctl.errors import BuildError
from fleetctl.models.augment import augment
from fleetctl.models.progress import Progress, silent
from fleetctl.models.tensorflow import tensorflow

_VIEWS = 5  # of each image: itself, and varied as it was while the network learnt
_SHRINKAGE = 0.35  # of the features' covariance towards a sphere; see docs/reader.md for how it was chosen
_SMALLEST_DEVIATION = 1e-6
_BATCH = 64


def blend(
    network: Any,
    images: NDArray[np.uint8],
    targets: NDArray[np.int32],
    share: float,
    *,
    seed: int,
    progress: Progress = silent,
) -> None:
    """Let the last layer of `network` be, by `share`, a discriminant of the features that it is given.

    The logits keep their deviation, and with it what a score means.

    Args:
        network: a Keras model from float32 (N, H, W, C) in 0..1 to logits (N, signs) by a dense layer.
        images: prepared, uint8 (M, H, W, C); every sign occurs.
        targets: index of each one's sign, (M,).
        share: from 0 to 1.
        progress: hears stage `discriminant` after each batch, counted in views of images.

    Raises:
        BuildError: features that are no numbers, or that do not differ.
    """
    head = network.layers[-1]
    features = _features(network, images, seed, progress)
    kernel, bias = head.get_weights()
    coefficients, intercept = _fitted(features, np.tile(targets, _VIEWS), len(bias))
    plain = features[: len(images)]
    scale = share * (plain @ kernel + bias).std() / (plain @ coefficients + intercept).std()
    head.set_weights([(1 - share) * kernel + scale * coefficients, (1 - share) * bias + scale * intercept])


def _features(network: Any, images: NDArray[np.uint8], seed: int, progress: Progress) -> NDArray[np.float32]:
    """What the last layer is given of every view of every image, view by view: (views * M, F)."""
    tf = tensorflow()
    before = tf.keras.Model(network.input, network.layers[-1].input)
    salt = np.uint32(seed).astype(np.int32)  # TensorFlow takes the upper half as negative

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def seen(pixels: Any, view: Any, start: Any) -> Any:
        plain = tf.cast(pixels, tf.float32) / 255.0
        if view is None:
            return before(plain, training=False)
        return before(augment(plain, tf.stack([salt, view * len(images) + start])), training=False)

    rows = []
    for view in range(_VIEWS):
        for start in range(0, len(images), _BATCH):
            varied = None if view == 0 else tf.constant(view, tf.int32)
            rows.append(seen(images[start : start + _BATCH], varied, tf.constant(start, tf.int32)).numpy())
            done = view * len(images) + min(start + _BATCH, len(images))
            progress("discriminant", done, _VIEWS * len(images))
    return np.concatenate(rows)


def _fitted(
    features: NDArray[np.float32], targets: NDArray[np.int32], signs: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Coefficients (F, signs) and intercept (signs,); of two signs scikit-learn has but the second's."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    if not np.isfinite(features).all():
        raise BuildError("the network's features are not all numbers")
    if features.std(axis=0).max() < _SMALLEST_DEVIATION:
        raise BuildError("the network sees no difference between signs", hint="leave `discriminant` out")
    even = np.full(signs, 1 / signs)
    found = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=_SHRINKAGE, priors=even)
    found.fit(features.astype(np.float64), targets)
    coefficients, intercept = found.coef_, found.intercept_
    if len(intercept) == 1:
        coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
        intercept = np.concatenate([np.zeros_like(intercept), intercept])
    return coefficients.T.astype(np.float32), intercept.astype(np.float32)
