"""Teaching a classifier: which photos in which order, how varied, at what rate, and when to give up."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetctl.errors import BuildError
from fleetctl.manifest.schema import Training
from fleetctl.models.augment import augment
from fleetctl.models.progress import Progress
from fleetctl.models.tensorflow import tensorflow

_LABEL_SMOOTHING = 0.1
_WEIGHT_DECAY = 0.02
_WARMUP = 0.08  # fraction of the steps
# A sign with n samples is drawn in proportion to n**0.5: rare ones more often than they occur.
_BALANCE = 0.5


def fit(
    network: Any,
    images: NDArray[np.uint8],
    targets: NDArray[np.int32],
    training: Training,
    progress: Progress,
    repeats: NDArray[np.int32] | None = None,
) -> None:
    """Train `network` in place; its weights are a function of the arguments and the network's first weights.

    Args:
        network: takes float32 (N, H, W, C) in 0..1 and gives logits (N, signs).
        images: prepared photos, uint8 (M, H, W, C).
        targets: index of each photo's sign, (M,).
        progress: hears stage `train` after each step, counted over all epochs.
        repeats: how often each photo comes in one pass over its sign's samples, (M,); None is once.

    Raises:
        BuildError: the loss stopped being a number.
    """
    tf = tensorflow()
    steps_per_epoch = -(-len(images) // training.batch_size)
    steps = training.epochs * steps_per_epoch
    order = draw_order(targets, steps * training.batch_size, seed=training.seed, repeats=repeats)
    warmup = max(1, round(_WARMUP * steps))
    rate = tf.keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warmup), warmup_target=training.learning_rate, warmup_steps=warmup
    )
    network.compile(
        optimizer=tf.keras.optimizers.AdamW(rate, weight_decay=_WEIGHT_DECAY),
        loss=tf.keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=_LABEL_SMOOTHING),
    )
    network.fit(
        _batches(images, targets, order, training),
        steps_per_epoch=steps_per_epoch,
        epochs=training.epochs,
        verbose=0,
        callbacks=[_watcher(steps, progress)],
    )
    _restore_prior(network, targets)


def _restore_prior(network: Any, targets: NDArray[np.int32]) -> None:
    """Tell the network how often each sign really comes, now that it has learnt from a levelled mixture.

    Drawn in proportion to n**b, it gives posteriors under that prior; adding (1 - b) log n to the logits
    gives those under n (Saerens, Latinne and Decaestecker, Neural Computation 14, 2002). It costs nothing on
    a board: it is the last layer's bias.
    """
    kernel, bias = network.layers[-1].get_weights()
    counts = np.bincount(targets, minlength=len(bias))
    shift = (1 - _BALANCE) * np.log(np.maximum(counts, 1))
    network.layers[-1].set_weights([kernel, bias + shift - shift.mean()])


def draw_order(
    targets: Sequence[int] | NDArray[np.int32],
    count: int,
    *,
    seed: int,
    repeats: NDArray[np.int32] | None = None,
) -> NDArray[np.int32]:
    """Which sample each of `count` draws takes, so that rare signs come up more often than they are.

    Every pass over a sign's samples is a permutation of them, each as often as `repeats` says: none is left
    out by chance.
    """
    targets = np.asarray(targets)
    repeats = np.ones(len(targets), np.int32) if repeats is None else repeats
    rng = np.random.default_rng(seed)
    classes, sizes = np.unique(targets, return_counts=True)
    share = sizes**_BALANCE / (sizes**_BALANCE).sum()
    drawn = rng.choice(classes, count, p=share)
    order = np.empty(count, np.int32)
    for sign in classes:
        places = np.flatnonzero(drawn == sign)
        members = np.flatnonzero(targets == sign)
        members = np.repeat(members, repeats[members])
        passes = -(-len(places) // len(members))
        order[places] = np.concatenate([rng.permutation(members) for _ in range(passes)] or [members[:0]])[
            : len(places)
        ]
    return order


def _batches(
    images: NDArray[np.uint8], targets: NDArray[np.int32], order: NDArray[np.int32], training: Training
) -> Any:
    tf = tensorflow()
    pixels = tf.constant(images)
    answers = tf.one_hot(targets, int(targets.max()) + 1)

    def batch(step: Any, places: Any) -> tuple[Any, Any]:
        plain = tf.cast(tf.gather(pixels, places), tf.float32) / 255.0
        return augment(plain, tf.stack([training.seed, tf.cast(step, tf.int32)])), tf.gather(answers, places)

    batches = tf.data.Dataset.from_tensor_slices(order).batch(training.batch_size).enumerate()
    return batches.map(batch, num_parallel_calls=2, deterministic=True).prefetch(4)


def _watcher(steps: int, progress: Progress) -> Any:
    """A Keras callback that tells of each step and refuses a loss that is no number."""
    tf = tensorflow()

    class Watcher(tf.keras.callbacks.Callback):  # type: ignore[misc, name-defined]
        done = 0

        def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
            del batch
            loss = (logs or {}).get("loss", 0.0)
            if not np.isfinite(loss):
                raise BuildError(
                    f"training diverged: the loss became {loss} at step {self.done + 1} of {steps}",
                    hint="lower `training.learning_rate`",
                )
            self.done += 1
            progress("train", self.done, steps)

    return Watcher()
