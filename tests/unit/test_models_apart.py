"""Photos and drawings in one batch are normalised each among their own kind, and photos' statistics kept."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from tiny_training import SHORT, Weights, fitted

from fleetctl.models import apart
from fleetctl.models.checkpoints import Checkpoint
from fleetctl.models.fit import Lessons, fit
from fleetctl.models.progress import silent
from fleetctl.models.tensorflow import tensorflow

# TensorFlow 2.15 and its Keras use what later Pythons and libraries deprecate.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:keras"),
]

WIDE = replace(SHORT, batch_size=32)
EVERY_OTHER = np.arange(40) % 2 == 0


def alike(one: Weights, other: Weights) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


def test_what_is_kept_is_of_photos() -> None:
    """A network that learns from dark drawings and bright photos expects bright pictures."""
    layers = tensorflow().keras.layers
    normal = layers.BatchNormalization(momentum=0.0)
    pool, logits = layers.GlobalAveragePooling2D(), layers.Dense(2)
    network = tensorflow().keras.Sequential([normal, pool, logits])
    network.build((None, 8, 8, 1))
    images = np.full((40, 8, 8, 1), 210, np.uint8)
    images[EVERY_OTHER] = 40
    targets = np.arange(40, dtype=np.int32) // 2 % 2

    fit(network, Lessons(images, targets, is_drawing=EVERY_OTHER), WIDE, silent)

    assert 0.7 < normal.moving_mean.numpy()[0] < 0.9
    assert normal.moving_variance.numpy()[0] < 0.03  # of both together it would be 0.1


def test_few_drawings_are_learnt_with_the_photos() -> None:
    """Two in a batch have no spread to speak of: what is learnt is what was learnt without a word on them."""
    few = np.arange(40) < 2

    assert alike(fitted(WIDE), fitted(WIDE, is_drawing=few))
    assert not alike(fitted(WIDE), fitted(WIDE, is_drawing=EVERY_OTHER))


def test_an_interrupted_training_goes_on(tmp_path: Path) -> None:
    """Stopped at a step, it ends with the weights of one that was not."""

    def stop(stage: str, done: int, total: int) -> None:
        del stage, total
        if done == 3:
            raise KeyboardInterrupt

    checkpoint = Checkpoint(tmp_path / "train.checkpoint")
    with pytest.raises(KeyboardInterrupt):
        fitted(WIDE, stop, checkpoint, is_drawing=EVERY_OTHER)

    assert checkpoint.path.exists()
    assert alike(
        fitted(WIDE, is_drawing=EVERY_OTHER), fitted(WIDE, checkpoint=checkpoint, is_drawing=EVERY_OTHER)
    )


@pytest.mark.parametrize(
    ("drawings", "possible"),
    [
        pytest.param([16, 16], True, id="half and half"),
        pytest.param([8, 24], True, id="enough of each"),
        pytest.param([16, 7], False, id="a batch with few drawings"),
        pytest.param([25, 16], False, id="a batch with few photos"),
        pytest.param([0, 0], False, id="photos alone"),
        pytest.param([32, 32], False, id="drawings alone"),
    ],
)
def test_each_batch_needs_enough_of_both(drawings: list[int], possible: bool) -> None:
    """One batch without is one whose statistics mean nothing."""
    batches = [np.arange(32) < count for count in drawings]

    assert possible == apart.is_possible(np.concatenate(batches), 32)
