"""The sign reader: a small network that learns to tell signs apart, on two ordinary cores, in minutes."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from fleetctl.device.preprocess import prepare
from fleetctl.manifest.schema import Architecture, Head, Model
from fleetctl.models import checkpoints, keras_file, logistic_head, network
from fleetctl.models.checkpoints import Checkpoint
from fleetctl.models.fit import Emphasis, Lessons, fit
from fleetctl.models.progress import Progress, silent
from fleetctl.models.samples import Samples, Split, is_drawn
from fleetctl.models.tensorflow import tensorflow

_DRAWINGS = 20  # of a sign, that weigh as much as photos
_SEEDS = 2**32  # that there are


class Trained(Struct, frozen=True):
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

    `progress` hears stage `train`, or `train 1 of 2` of several members, after each step. Interrupted
    and called again, it goes on from the checkpoint in `workdir`, which stays until the caller has noted the
    result.

    Raises:
        BuildError: the architecture cannot be built, or the loss stopped being a number.
        WriteError: the checkpoint or the weights cannot be written.
        ToolchainMissing: TensorFlow 2.15 is not installed.
    """
    network.demand_buildable(model)
    subject = _subject(split.train, preprocess_spec(model.architecture))
    tensorflow().config.experimental.enable_op_determinism()
    if model.architecture.head is Head.LOGISTIC_REGRESSION:
        learnt = _with_logistic_head(model, subject.lessons, progress)
    else:
        members = range(model.architecture.members)
        learnt = network.joined(
            model.architecture, [_member(model, number, subject, workdir, progress) for number in members]
        )
    _favour(learnt, ~subject.is_photographed, model.training.drawn_only)
    weights = workdir / f"{model.name}.keras"
    keras_file.save(learnt, weights)
    return Trained(subject.labels, weights, preprocess_spec(model.architecture))


class _Subject(Struct, frozen=True):
    """What there is to learn. `is_photographed`: of each label, whether a photo shows it, bool (N,)."""

    labels: tuple[str, ...]
    lessons: Lessons
    is_photographed: NDArray[np.bool_]


def _subject(samples: Samples, spec: Mapping[str, Any]) -> _Subject:
    labels = tuple(sorted(samples.counts))
    index = {label: number for number, label in enumerate(labels)}
    targets = np.array([index[label] for label in samples.labels], np.int32)
    is_drawing = np.array([is_drawn(name) for name in samples.names], bool)
    is_photographed = np.bincount(targets, ~is_drawing, len(labels)) > 0
    lessons = Lessons(prepare_all(samples, spec), targets, emphasis(samples), is_drawing)
    return _Subject(labels, lessons, is_photographed)


def _begin(seed: int) -> None:
    """Whatever TensorFlow did before in this process, what follows is a function of the seed."""
    tensorflow().keras.backend.clear_session()
    tensorflow().keras.utils.set_random_seed(seed)


def _member(model: Model, number: int, subject: _Subject, workdir: Path, progress: Progress) -> Any:
    """One network, trained from first weights and in an order of its own: both come from its seed."""
    of = model.architecture.members
    training = replace(model.training, seed=(model.training.seed + number) % _SEEDS)
    _begin(training.seed)
    member = network.build(model.architecture, len(subject.labels), any_size=model.training.small_epochs > 0)
    fit(
        member,
        subject.lessons,
        training,
        progress,
        Checkpoint(workdir / f"train-{number}{checkpoints.SUFFIX}"),
        stage="train" if of == 1 else f"train {number + 1} of {of}",
    )
    return member


def _favour(network: Any, favoured: NDArray[np.bool_], by: float) -> None:
    """Add `by` to the logits of the favoured signs.

    A network that met photos of some signs and drawings of others takes whatever looks like a photo for one
    of the former. The remedy is a constant: calibrated stacking (Chao et al., ECCV 2016).
    """
    kernel, bias = network.layers[-1].get_weights()
    network.layers[-1].set_weights([kernel, bias + by * favoured.astype(np.float32)])


def _with_logistic_head(model: Model, lessons: Lessons, progress: Progress) -> Any:
    _begin(model.training.seed)
    features = network.features(model.architecture)
    seen = logistic_head.seen(features, lessons.images, progress)
    learnt = logistic_head.fit(seen, lessons.targets, lessons.counted.repeats)
    return logistic_head.attach(features, learnt)


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
