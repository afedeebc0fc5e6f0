"""Teaching a classifier: which photos in which order, how varied, at what rate, and when to give up."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Self

import numpy as np
from msgspec import Struct, to_builtins
from msgspec.structs import replace
from numpy.typing import NDArray

from fleetctl.errors import BuildError
from fleetctl.manifest.schema import Qat, Training
from fleetctl.models import apart
from fleetctl.models.augment import augment
from fleetctl.models.checkpoints import Checkpoint, Resumable
from fleetctl.models.progress import Progress
from fleetctl.models.tensorflow import tensorflow

_LABEL_SMOOTHING = 0.1
_WARMUP = 0.08  # fraction of the steps
# A sign of size n is drawn in proportion to n**0.5: rare ones more often than they occur.
_BALANCE = 0.5
_SMALLEST, _MULTIPLE = 32, 16  # pixels, of a side of a shrunk picture


class Emphasis(Struct, frozen=True):
    """What each of M samples counts for.

    repeats: how often it comes in one pass over its sign's samples, int32 (M,).
    worth: what it adds to the size of its sign, float64 (M,).
    """

    repeats: NDArray[np.int32]
    worth: NDArray[np.float64]

    @classmethod
    def even(cls, count: int) -> Self:
        """Every sample like every other."""
        return cls(np.ones(count, np.int32), np.ones(count))


class Lessons(Struct, frozen=True):
    """M samples to learn from.

    images: prepared, uint8 (M, H, W, C).
    targets: index of each one's sign, int32 (M,).
    emphasis: what each counts for; None is the same for all.
    is_drawing: which are no photos, bool (M,); None where that makes no difference. Where every batch has
        some of both, see `apart`.
    """

    images: NDArray[np.uint8]
    targets: NDArray[np.int32]
    emphasis: Emphasis | None = None
    is_drawing: NDArray[np.bool_] | None = None

    @property
    def counted(self) -> Emphasis:
        return self.emphasis or Emphasis.even(len(self.targets))


def fit(
    network: Any,
    lessons: Lessons,
    training: Training,
    progress: Progress,
    checkpoint: Checkpoint | None = None,
    *,
    stage: str = "train",
) -> None:
    """Train `network` in place; its weights are a function of the arguments and the network's first weights.

    Interrupted and called again with the same arguments, it goes on from `checkpoint`, to the same weights.

    Args:
        network: takes float32 (N, H, W, C) in 0..1, of any size if there are `small_epochs`, and gives logits
            (N, signs).
        progress: hears `stage` before the first step and after each, counted over all epochs; the name of the
            stage says at which step a training was resumed.
        checkpoint: where the state is kept meanwhile. The caller removes it once the result is safe.

    Raises:
        BuildError: the loss stopped being a number.
        WriteError: the checkpoint cannot be written.
    """
    course = _Course(training, stage, "training.learning_rate")
    _learn(network, lessons, course, progress, checkpoint)


def fine_tune(
    network: Any,
    lessons: Lessons,
    training: Training,
    qat: Qat,
    progress: Progress,
    checkpoint: Checkpoint | None = None,
) -> None:
    """Let a network that `fit` trained learn on, in place, for the epochs and at the rate of `qat`.

    Args:
        progress: hears stage `fine-tune` as `fit` tells of `train`.

    The other arguments, and what is raised, are as in `fit`.
    """
    course = _Course(
        replace(training, epochs=qat.epochs, learning_rate=qat.learning_rate, small_epochs=0),
        "fine-tune",
        "quantization.qat.learning_rate",
    )
    _learn(network, lessons, course, progress, checkpoint)


class _Course(Struct, frozen=True):
    """How to learn; what to call it, and which setting of the manifest is too high where it diverges."""

    training: Training
    stage: str
    rate: str

    def count(self, images: int) -> int:
        return self.training.epochs * _steps(images, self.training)


def _steps(images: int, training: Training) -> int:
    """Of one epoch."""
    return -(-images // training.batch_size)


def _learn(
    network: Any, lessons: Lessons, course: _Course, progress: Progress, checkpoint: Checkpoint | None
) -> None:
    """Take the steps that are left. To Keras they are one epoch: nothing here depends on epochs."""
    training, steps, kinds = course.training, course.count(len(lessons.images)), lessons.is_drawing
    count = steps * training.batch_size
    order = draw_order(lessons.targets, count, seed=training.seed, emphasis=lessons.counted)
    if kinds is not None and not apart.is_possible(kinds[order], training.batch_size):
        lessons = replace(lessons, is_drawing=None)
    learner = network if lessons.is_drawing is None else apart.learner(network)
    _compile(learner, training, steps)
    identity = _identity(network, lessons, order, training)
    state = Resumable(learner, learner.optimizer, identity, checkpoint)
    if state.step >= steps:
        return
    batches = _batches(lessons, order, training, first=state.step)
    watcher = _watcher(steps, state, course, progress)
    with state.kept():
        learner.fit(batches, steps_per_epoch=steps - state.step, epochs=1, verbose=0, callbacks=[watcher])
    state.ended()


def _compile(network: Any, training: Training, steps: int) -> None:
    tf = tensorflow()
    warmup = max(1, round(_WARMUP * steps))
    rate = tf.keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warmup), warmup_target=training.learning_rate, warmup_steps=warmup
    )
    network.compile(
        optimizer=tf.keras.optimizers.AdamW(rate, weight_decay=training.weight_decay),
        loss=tf.keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=_LABEL_SMOOTHING),
    )


def _identity(network: Any, lessons: Lessons, order: NDArray[np.int32], training: Training) -> str:
    """Names what every step is a function of, so that no training goes on from another one's state."""
    digest = sha256(repr((tensorflow().__version__, lessons.images.shape, to_builtins(training))).encode())
    kinds = [] if lessons.is_drawing is None else [lessons.is_drawing]
    for array in (lessons.images, lessons.targets, order, *network.get_weights(), *kinds):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def draw_order(
    targets: Sequence[int] | NDArray[np.int32],
    count: int,
    *,
    seed: int,
    emphasis: Emphasis | None = None,
) -> NDArray[np.int32]:
    """Which sample each of `count` draws takes, so that rare signs come up more often than they are.

    Every pass over a sign's samples is a permutation of them, each as often as `emphasis` says: none is left
    out by chance.
    """
    targets = np.asarray(targets)
    emphasis = emphasis or Emphasis.even(len(targets))
    rng = np.random.default_rng(seed)
    classes = np.unique(targets)
    sizes = np.bincount(targets, emphasis.worth)[classes]
    share = sizes**_BALANCE / (sizes**_BALANCE).sum()
    drawn = rng.choice(classes, count, p=share)
    order = np.empty(count, np.int32)
    for sign in classes:
        places = np.flatnonzero(drawn == sign)
        members = np.flatnonzero(targets == sign)
        members = np.repeat(members, emphasis.repeats[members])
        passes = -(-len(places) // len(members))
        order[places] = np.concatenate([rng.permutation(members) for _ in range(passes)] or [members[:0]])[
            : len(places)
        ]
    return order


def _batches(lessons: Lessons, order: NDArray[np.int32], training: Training, *, first: int) -> Any:
    """The batches from step `first` on; each is a function of the seed and its step alone.

    Images, answers and, if that is known, whether each is a drawing.
    """
    tf = tensorflow()
    images, targets, is_drawing = lessons.images, lessons.targets, lessons.is_drawing
    pixels = tf.constant(images)
    answers = tf.one_hot(targets, int(targets.max()) + 1)
    seed = np.uint32(training.seed).astype(np.int32)  # TensorFlow takes the upper half as negative
    small_steps = training.small_epochs * _steps(len(images), training)

    def batch(step: Any, places: Any) -> tuple[Any, ...]:
        plain = tf.cast(tf.gather(pixels, places), tf.float32) / 255.0
        if small_steps:
            plain = tf.cond(step < small_steps, lambda: _shrunk(plain), lambda: plain)
        varied = augment(plain, tf.stack([seed, tf.cast(step, tf.int32)]))
        varied = tf.ensure_shape(varied, (None, None, None, images.shape[-1]))
        kinds = () if is_drawing is None else (tf.gather(is_drawing, places),)
        return varied, tf.gather(answers, places), *kinds

    left = tf.data.Dataset.from_tensor_slices(order[first * training.batch_size :])
    batches = left.batch(training.batch_size).enumerate(start=first)
    return batches.map(batch, num_parallel_calls=2, deterministic=True).prefetch(4)


def _shrunk(images: Any) -> Any:
    """Three quarters as high and wide, in multiples of what the network halves four times.

    A network learns most of what it will know from pictures with half of the pixels, in half of the time:
    progressive resizing (Tan and Le, EfficientNetV2, ICML 2021).
    """
    sides = [max(_SMALLEST, _MULTIPLE * round(0.75 * side / _MULTIPLE)) for side in images.shape[1:3]]
    return tensorflow().image.resize(images, sides, "area")


def _watcher(steps: int, state: Resumable, course: _Course, progress: Progress) -> Any:
    """A Keras callback that tells of each step, keeps the state, and refuses a loss that is no number."""
    tf = tensorflow()
    stage = f"{course.stage}, resumed at step {state.step} of {steps}" if state.step else course.stage

    class Watcher(tf.keras.callbacks.Callback):  # type: ignore[misc, name-defined]
        def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
            del logs
            progress(stage, state.step, steps)  # the first step takes longest: TensorFlow compiles it

        def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
            del batch
            loss = (logs or {}).get("loss", 0.0)
            if not np.isfinite(loss):
                state.remove()
                raise BuildError(
                    f"training diverged: the loss became {loss} at step {state.step} of {steps}",
                    hint=f"lower `{course.rate}`",
                )
            state.stepped()
            progress(stage, state.step, steps)

    return Watcher()
