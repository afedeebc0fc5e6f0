"""A trained sign reader as the TFLite bytes of one variant."""

from typing import Any

from fleetctl.manifest.schema import VariantName
from fleetctl.models.converter import to_tflite, with_batch_one
from fleetctl.models.reader import Trained, prepare_all
from fleetctl.models.samples import Samples
from fleetctl.models.tensorflow import tensorflow


def convert(trained: Trained, variant: VariantName, representative: Samples) -> bytes:
    """A TFLite model with batch 1 that takes prepared pixels (0..255) and gives softmax scores.

    Args:
        representative: samples from training, for variants that need the ranges of activations.

    Raises:
        BuildError: a variant that is not built here, or a converted model that is not what was asked for.
    """
    module = with_batch_one(_deployable(trained))
    return to_tflite(module, variant, prepare_all(_spread(representative), trained.preprocess))


def _deployable(trained: Trained) -> Any:
    """The network with its input scale folded into the first convolution, and a softmax at its end."""
    tf = tensorflow()
    network = tf.keras.models.load_model(trained.weights, compile=False)
    first = next(layer for layer in network.layers if isinstance(layer, tf.keras.layers.Conv2D))
    first.kernel.assign(first.kernel / 255.0)
    return tf.keras.Model(network.input, tf.keras.layers.Softmax(name="scores")(network.output))


_REPRESENTATIVE = 300  # samples that show the converter each layer's range


def _spread(samples: Samples) -> Samples:
    """At most a few hundred samples, evenly over the list: drawn and photographed ones, all signs."""
    step = max(1, len(samples) // _REPRESENTATIVE)
    return samples.pick(range(0, len(samples), step))
