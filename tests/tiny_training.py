"""A training of two seconds with the reader's kinds of layers; as a program, one that can be killed."""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fleetctl.manifest.schema import Training
from fleetctl.models.checkpoints import Checkpoint
from fleetctl.models.fit import Lessons, fit
from fleetctl.models.progress import Progress, silent
from fleetctl.models.tensorflow import tensorflow

SHORT = Training(epochs=4, batch_size=8, learning_rate=0.01)
STEPS = 20

Weights = list[NDArray[np.float32]]


def tiny_network(*, dropout: bool = False) -> object:
    """Six layers, float32 (N, 20, 16, 1) to logits (N, 3); its weights are always the same."""
    tf = tensorflow()
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()
    layers = tf.keras.layers
    stack = [
        layers.Conv2D(4, 3, strides=2, input_shape=(20, 16, 1)),
        layers.DepthwiseConv2D(3),
        layers.BatchNormalization(),
        layers.ReLU(6.0),
        layers.GlobalAveragePooling2D(),
        *([layers.Dropout(0.5)] if dropout else []),
        layers.Dense(3),
    ]
    return tf.keras.Sequential(stack)


def fitted(
    training: Training = SHORT,
    progress: Progress = silent,
    checkpoint: Checkpoint | None = None,
    *,
    dropout: bool = False,
    is_drawing: NDArray[np.bool_] | None = None,
) -> Weights:
    """The weights of the tiny network after a training of 40 photos, or of photos and drawings."""
    network = tiny_network(dropout=dropout)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 20, 16, 1), dtype=np.uint8)
    targets = np.arange(40, dtype=np.int32) % 3
    fit(network, Lessons(images, targets, is_drawing=is_drawing), training, progress, checkpoint)
    return [np.asarray(weights) for weights in network.get_weights()]  # type: ignore[attr-defined]


def main() -> None:
    """Train with a checkpoint at argv[1] after each step, telling of each; write the weights beside it."""

    def told(stage: str, done: int, total: int) -> None:
        print(f"{stage}: {done} of {total}", flush=True)

    path = Path(sys.argv[1])
    weights = fitted(progress=told, checkpoint=Checkpoint(path, every=0.0))
    np.savez(path.with_suffix(".npz"), *weights)


if __name__ == "__main__":
    main()
