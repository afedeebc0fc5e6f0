"""A trained sign reader as the TFLite bytes of one variant."""

from typing import Any

import numpy as np
from msgspec import to_builtins
from numpy.typing import NDArray

from fleetctl.manifest.schema import Model, VariantName
from fleetctl.models import qat, representative
from fleetctl.models.checkpoints import Checkpoint
from fleetctl.models.converter import to_tflite, with_batch_one
from fleetctl.models.fit import Lessons, fine_tune
from fleetctl.models.network import stems
from fleetctl.models.progress import Progress, silent
from fleetctl.models.reader import Trained, emphasis, prepare_all
from fleetctl.models.samples import Samples
from fleetctl.models.tensorflow import tensorflow
from fleetctl.store import canonical_json, sha256

_WHITE = 255.0  # what a prepared pixel counts to; networks learn with 0..1


def convert(
    model: Model,
    trained: Trained,
    variant: VariantName,
    learnt: Samples,
    *,
    progress: Progress = silent,
) -> bytes:
    """A TFLite model with batch 1 that takes prepared pixels (0..255) and gives softmax scores.

    Args:
        learnt: the samples `trained` learnt from. Ranges are taken from those that the manifest chooses, and
            int8-qat learns on with all of them.
        progress: hears stage `fine-tune` of int8-qat, which goes on after an interrupt from a file that it
            keeps beside the trained weights.

    Raises:
        BuildError: a variant that is not built here, no sample of the source that the manifest names, or a
            converted model that is not what was asked for.
    """
    tf = tensorflow()
    tf.keras.backend.clear_session()  # names of layers are numbered, and go into the file
    network = tf.keras.models.load_model(trained.weights, compile=False)
    chosen = representative.choose(learnt, model.quantization, seed=model.training.seed)
    images = prepare_all(chosen, trained.preprocess)
    if variant is not VariantName.INT8_QAT:
        _take_pixels(network)
        return to_tflite(with_batch_one(_scoring(network)), variant, images)
    checkpoint = _checkpoint(model, trained)
    aware = _quantization_aware(network, images, model, trained, learnt, checkpoint, progress)
    converted = to_tflite(with_batch_one(_scoring(aware)), variant, images)
    checkpoint.remove()
    return converted


def _scoring(network: Any) -> Any:
    """The network with a softmax at its end."""
    tf = tensorflow()
    return tf.keras.Model(network.input, tf.keras.layers.Softmax(name="scores")(network.output))


def _take_pixels(network: Any) -> None:
    """Fold the scale of the network's input into the convolutions that see it: one of each member."""
    for first in stems(network):
        first.kernel.assign(first.kernel / _WHITE)


def _quantization_aware(
    network: Any,
    images: NDArray[np.uint8],
    model: Model,
    trained: Trained,
    learnt: Samples,
    checkpoint: Checkpoint,
    progress: Progress,
) -> Any:
    """The network after `quantization.qat`, taking prepared pixels; the same seed gives the same weights."""
    tf = tensorflow()
    tf.keras.utils.set_random_seed(model.training.seed)
    tf.config.experimental.enable_op_determinism()
    aware = qat.aware(network, images.astype(np.float32) / np.float32(_WHITE))
    fine_tune(
        aware,
        Lessons(
            prepare_all(learnt, trained.preprocess),
            np.array([trained.labels.index(label) for label in learnt.labels], np.int32),
            emphasis(learnt),
        ),
        model.training,
        model.quantization.qat,
        progress,
        checkpoint,
    )
    qat.multiply_input(aware, _WHITE)
    return aware


def _checkpoint(model: Model, trained: Trained) -> Checkpoint:
    """Where fine-tuning keeps its state, which depends on the samples that the first ranges come from."""
    recipe = sha256(canonical_json(to_builtins(model.quantization)))
    return Checkpoint(trained.weights.with_name(f"int8-qat-{recipe[:16]}.resume"))
