"""Teaching the detector; the same scenes and the same seed on the same machine give the same weights."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct, to_builtins

from fleetctl.errors import BuildError
from fleetctl.manifest.schema import Architecture, Model, Training
from fleetctl.models import checkpoints, keras_file
from fleetctl.models.checkpoints import Checkpoint, Resumable
from fleetctl.models.detector import anchors, network
from fleetctl.models.detector.lessons import Batch, Lessons
from fleetctl.models.detector.loss import loss
from fleetctl.models.detector.scenes import Scene, Scenes
from fleetctl.models.network import demand_buildable
from fleetctl.models.progress import Progress, silent
from fleetctl.models.tensorflow import tensorflow
from fleetctl.store import canonical_json

_WEIGHT_DECAY = 0.01
_WARMUP = 0.05  # fraction of the steps
_CLIP = 5.0  # norm of a step's gradients
_AHEAD = 3  # batches prepared while the network learns


class TrainedDetector(Struct, frozen=True):
    """A network that has learnt: `weights` is a Keras file whose network takes float32 (N, H, W, C) in 0..1
    and gives logits (N, anchors, labels) and offsets (N, anchors, 4).

    `detection` is `contract["detection"]`; it says what the anchors are.
    """

    labels: tuple[str, ...]
    weights: Path
    preprocess: Mapping[str, Any]
    detection: Mapping[str, Any]


def preprocess_spec(architecture: Architecture) -> dict[str, Any]:
    """The specification (see `fleetctl.device.preprocess`) that each tile is prepared by."""
    return {
        "shape": list(architecture.input),
        "fit": "contain",
        "lighting": {"window": 0, "low": 10, "high": 990, "min_range": 48},
        "smooth": 1,
    }


def train(model: Model, scenes: Scenes, *, workdir: Path, progress: Progress = silent) -> TrainedDetector:
    """Learn `scenes.train`.

    `progress` hears stage `train` after each step. Interrupted and called again, it goes on from the
    checkpoint in `workdir`, which stays until the caller has noted the result.

    Raises:
        BuildError: the architecture cannot be built, or the loss stopped being a number.
        WriteError: the checkpoint or the weights cannot be written.
        ToolchainMissing: TensorFlow 2.15 is not installed.
    """
    demand_buildable(model)
    spec = preprocess_spec(model.architecture)
    detection = anchors.specification(scenes.train, seed=model.training.seed)

    tf = tensorflow()
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(model.training.seed)
    tf.config.experimental.enable_op_determinism()
    made = network.build(model.architecture, len(detection["maps"][0]["anchors"]), len(scenes.labels))
    lessons = Lessons(
        scenes.train,
        scenes.labels,
        spec,
        detection,
        batch_size=model.training.batch_size,
        seed=model.training.seed,
    )
    steps = step_count(scenes.train, model)
    identity = _identity(scenes.train, model, detection)
    checkpoint = Checkpoint(workdir / f"train{checkpoints.SUFFIX}")
    _learn(made, lessons, model.training, steps, identity, checkpoint, progress)
    weights = workdir / f"{model.name}.keras"
    keras_file.save(made, weights)
    return TrainedDetector(scenes.labels, weights, spec, detection)


def step_count(scenes: tuple[Scene, ...], model: Model) -> int:
    """Steps of a whole training: an epoch shows as many pixels as there are to learn from."""
    height, width, _ = model.architecture.input
    tiles = sum(scene.image.size for scene in scenes) / (height * width)
    return max(1, round(model.training.epochs * tiles / model.training.batch_size))


def _learn(
    made: Any,
    lessons: Lessons,
    training: Training,
    steps: int,
    identity: str,
    checkpoint: Checkpoint,
    progress: Progress,
) -> None:
    tf = tensorflow()
    warmup = max(1, round(_WARMUP * steps))
    rate = tf.keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warmup), warmup_target=training.learning_rate, warmup_steps=warmup
    )
    optimizer = tf.keras.optimizers.AdamW(rate, weight_decay=_WEIGHT_DECAY, global_clipnorm=_CLIP)
    state = Resumable(made, optimizer, identity, checkpoint)
    step_once = _step(made, optimizer)
    stage = f"train, resumed at step {state.step} of {steps}" if state.step else "train"
    progress(stage, state.step, steps)  # the first step takes longest: TensorFlow compiles it
    with state.kept():
        for batch in _ahead(lessons, state.step, steps):
            cost = float(step_once(batch.pixels, batch.classes, batch.offsets))
            if not np.isfinite(cost):
                state.remove()
                raise BuildError(
                    f"training diverged: the loss became {cost} at step {state.step} of {steps}",
                    hint="lower `training.learning_rate`",
                )
            state.stepped()
            progress(stage, state.step, steps)


def _step(made: Any, optimizer: Any) -> Any:
    """One step on one batch, which gives its loss."""
    tf = tensorflow()

    @tf.function  # type: ignore[untyped-decorator]
    def step(pixels: Any, classes: Any, offsets: Any) -> Any:
        with tf.GradientTape() as tape:
            logits, placed = made(tf.cast(pixels, tf.float32) / 255.0, training=True)
            cost = loss(logits, placed, classes, offsets)
        gradients = tape.gradient(cost, made.trainable_variables)
        optimizer.apply_gradients(zip(gradients, made.trainable_variables, strict=True))
        return cost

    return step


def _ahead(lessons: Lessons, first: int, last: int) -> Iterator[Batch]:
    """The batches from step `first` to before `last`, in order, the next ones prepared in another thread."""
    with ThreadPoolExecutor(1) as workers:
        waiting: list[Future[Batch]] = []
        for step in range(first, last):
            while len(waiting) < _AHEAD and step + len(waiting) < last:
                waiting.append(workers.submit(lessons.batch, step + len(waiting)))
            yield waiting.pop(0).result()


def _identity(scenes: tuple[Scene, ...], model: Model, detection: Mapping[str, Any]) -> str:
    """Names what every step is a function of, so that no training goes on from another one's state."""
    facts = {
        "tensorflow": tensorflow().__version__,
        "architecture": to_builtins(model.architecture),
        "training": to_builtins(model.training),
        "detection": dict(detection),
    }
    digest = sha256(canonical_json(facts))
    for scene in scenes:
        digest.update(repr((scene.image.shape, scene.signs, scene.complete)).encode())
        digest.update(np.ascontiguousarray(scene.image).data)
        digest.update(np.ascontiguousarray(scene.boxes).data)
    return digest.hexdigest()
