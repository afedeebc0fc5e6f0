"""The sign reader: a small network that learns to tell signs apart, on two ordinary cores, in minutes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetctl.device.preprocess import prepare
from fleetctl.manifest.schema import Architecture, Head, Model
from fleetctl.models import checkpoints, keras_file, logistic_head, network
from fleetctl.models.checkpoints import Checkpoint
from fleetctl.models.fit import Emphasis, fit
from fleetctl.models.progress import Progress, silent
from fleetctl.models.samples import Samples, Split, is_drawn
from fleetctl.models.tensorflow import tensorflow

_DRAWINGS = 20  # of a sign, that weigh as much as photos


@dataclass(frozen=True, slots=True)
class Trained:
    """A network that has learnt: `weights` is a Keras file whose network takes float32 (N, H, W, C) in 0..1
    and gives logits (N, signs) in the order of `labels`.
    """

    labels: tuple[str, ...]
    weights: Path
    preprocess: Mapping[str, Any]


def preprocess_spec(architecture: Architecture) -> dict[str, Any]:
    """The specification (see `fleetctl.device.preprocess`) that a network's photos are prepared by."""
    return {
        "shape": list(architecture.input),
        "fit": "contain",
        "lighting": {"window": 0, "low": 10, "high": 990, "min_range": 24},
        "smooth": 1,
    }


def prepare_all(samples: Samples, spec: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Every sample prepared: uint8 (N, H, W, C)."""
    return np.stack([prepare(image, spec) for image in samples.images])


def train(model: Model, split: Split, *, workdir: Path, progress: Progress = silent) -> Trained:
    """Learn `split.train`; the same seed on the same machine gives the same weights.

    `progress` hears stage `train` after each step, counted over all epochs. Interrupted and called again, it
    goes on from the checkpoint in `workdir`, which stays until the caller has noted the result.

    Raises:
        BuildError: the architecture cannot be built, or the loss stopped being a number.
        WriteError: the checkpoint or the weights cannot be written.
        ToolchainMissing: TensorFlow 2.15 is not installed.
    """
    network.demand_buildable(model.architecture)
    labels = tuple(sorted(split.train.counts))
    spec = preprocess_spec(model.architecture)
    images = prepare_all(split.train, spec)
    index = {label: number for number, label in enumerate(labels)}
    targets = np.array([index[label] for label in split.train.labels], np.int32)
    counted = emphasis(split.train)

    tf = tensorflow()
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(model.training.seed)
    tf.config.experimental.enable_op_determinism()
    if model.architecture.head is Head.LOGISTIC_REGRESSION:
        learnt = _with_logistic_head(model.architecture, images, targets, counted, progress)
    else:
        learnt = network.build(model.architecture, len(labels))
        checkpoint = Checkpoint(workdir / f"train{checkpoints.SUFFIX}")
        fit(learnt, images, targets, model.training, progress, counted, checkpoint)
    weights = workdir / f"{model.name}.keras"
    keras_file.save(learnt, weights)
    return Trained(labels, weights, spec)


def _with_logistic_head(
    architecture: Architecture,
    images: NDArray[np.uint8],
    targets: NDArray[np.int32],
    counted: Emphasis,
    progress: Progress,
) -> Any:
    features = network.features(architecture)
    seen = logistic_head.seen(features, images, progress)
    return logistic_head.attach(features, logistic_head.fit(seen, targets, counted.repeats))


def emphasis(samples: Samples) -> Emphasis:
    """Photos count for what they are, and the drawings of a sign for twenty of them at most.

    Drawings fill in for photos that are not there. In one pass over a sign its photos come at least as often
    as its drawings: a network that met three photos and twenty drawings once each would learn the drawings.
    Beyond the twentieth, drawings are more different ones, and no more to learn.
    """
    drawn = np.array([is_drawn(name) for name in samples.names], bool)
    photos = Counter(label for label, is_drawing in zip(samples.labels, drawn, strict=True) if not is_drawing)
    drawings = samples.counts - photos
    repeats = [max(1, round(drawings[sign] / min(photos[sign] or 1, _DRAWINGS))) for sign in samples.labels]
    worth = [min(1.0, _DRAWINGS / (drawings[sign] or 1)) for sign in samples.labels]
    return Emphasis(np.where(drawn, 1, repeats).astype(np.int32), np.where(drawn, worth, 1.0))
