"""A linear discriminant that becomes part of a network's last layer."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fleetctl.errors import BuildError
from fleetctl.manifest.schema import (
    Architecture,
    ArchitectureName,
    Head,
    Model,
    RenderedDataset,
    Task,
    Training,
    Weights,
)
from fleetctl.models.discriminant import blend
from fleetctl.models.reader import telling, train
from fleetctl.models.samples import Samples, Split, drawn_name
from fleetctl.models.tensorflow import tensorflow

# TensorFlow 2.15 and its Keras use what later Pythons and libraries deprecate.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:keras"),
]


def striped(signs: int, *, each: int = 12) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Noisy pictures, uint8 (N, 16, 16, 1), of which each sign has a bright stripe at a height of its own."""
    rng = np.random.default_rng(signs)
    targets = np.arange(signs * each, dtype=np.int32) % signs
    images = rng.integers(0, 120, (len(targets), 16, 16, 1), np.uint8)
    for image, sign in zip(images, targets, strict=True):
        image[3 * sign + 2 : 3 * sign + 5] += 100
    return images, targets


def unlearnt(signs: int) -> Any:
    """A network whose features are the rows of its picture, and whose last layer knows nothing."""
    tf = tensorflow()
    tf.keras.utils.set_random_seed(0)
    image = tf.keras.Input((16, 16, 1))
    rows = tf.keras.layers.AveragePooling2D((1, 16))(image)
    return tf.keras.Model(image, tf.keras.layers.Dense(signs)(tf.keras.layers.Flatten()(rows)))


def logits(network: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(network(images.astype(np.float32) / np.float32(255), training=False))


@pytest.mark.parametrize("signs", [2, 4])
def test_what_the_features_tell_apart_is_told_apart(signs: int) -> None:
    """A last layer that knew nothing answers rightly, and its logits are neither surer nor less sure."""
    network = unlearnt(signs)
    images, targets = striped(signs)
    before = logits(network, images)

    blend(network, images, targets, 1.0, seed=2**32 - 1)

    after = logits(network, images)
    assert (before.argmax(1) != targets).any()
    assert after.argmax(1).tolist() == targets.tolist()
    assert after.std() == pytest.approx(before.std(), rel=1e-3)


def test_a_share_is_a_mean() -> None:
    """Of what the last layer was, and of what it would be as a discriminant alone."""
    images, targets = striped(3)
    said = []
    for share in (0.0, 0.25, 1.0):
        network = unlearnt(3)
        blend(network, images, targets, share, seed=0)
        said.append(logits(network, images))

    np.testing.assert_allclose(said[0], logits(unlearnt(3), images), atol=1e-6)
    np.testing.assert_allclose(said[1], 0.75 * said[0] + 0.25 * said[2], atol=1e-4)


@pytest.mark.parametrize(
    ("factor", "complaint"), [(0.0, "sees no difference"), (np.nan, "are not all numbers")]
)
def test_features_that_tell_nothing_are_refused(factor: float, complaint: str) -> None:
    """Because they are all alike, or no numbers."""
    tf = tensorflow()
    image = tf.keras.Input((16, 16, 1))
    features = tf.keras.layers.Flatten()(tf.keras.layers.Rescaling(factor)(image))
    network = tf.keras.Model(image, tf.keras.layers.Dense(3)(features))
    images, targets = striped(3)

    with pytest.raises(BuildError, match=complaint):
        blend(network, images, targets, 0.5, seed=0)


def test_drawings_tell_what_photos_look_like_only_for_want_of_them() -> None:
    """A sign's drawings are left out where it has a photo."""
    names = ["030001.png", drawn_name("N35", 0), drawn_name("O49", 0), drawn_name("O49", 1)]
    samples = Samples([np.zeros((16, 16), np.uint8)] * 4, ["N35", "N35", "O49", "O49"], names)

    assert [True, False, True, True] == telling(samples).tolist()


def test_a_logistic_regression_needs_none(tmp_path: Path) -> None:
    """It is fitted to the features by itself; that is said before anything is learnt."""
    model = Model(
        "lab",
        Task.CLASSIFICATION,
        RenderedDataset(samples_per_sign=1, signs=("N5",)),
        Architecture(
            ArchitectureName.EFFICIENTNET_LITE0, weights=Weights.IMAGENET, head=Head.LOGISTIC_REGRESSION
        ),
        Training(discriminant=0.8),
    )
    nothing = Samples([], [], [])

    with pytest.raises(BuildError, match="is fitted to the features by itself"):
        train(model, Split(nothing, nothing), workdir=tmp_path)
