"""Quantization-aware training: a trained network learns on with int8 rounding simulated (Jacob et al. 2018).

Post-training quantization rounds weights that nobody told of rounding. Here every weight and activation goes
through the rounding it will meet on a board while the loss is still there to correct for it. Where the ranges
begin and how the input is scaled decides whether few epochs are enough, so both are done here; the simulation
itself is tensorflow_model_optimization's.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetctl.errors import BuildError
from fleetctl.models.network import stems
from fleetctl.models.tensorflow import optimization, tensorflow

_BATCH = 32  # images at a time through the network that finds the ranges


def aware(network: Any, images: NDArray[np.float32], *, low: float = 0.0, high: float = 1.0) -> Any:
    """A copy of a trained network that computes as its int8 model will, and is ready to learn on.

    Statistics of BatchNorm are frozen, as they are on a board, where they are part of the convolution; its
    scales and shifts still learn. Ranges of activations begin where `images` have them: the toolkit begins
    with -6..6 and averages over thousands of steps, which is more than a fine-tuning has.

    Args:
        network: a Functional network of convolutions with BatchNorm and ReLU behind them, additions, padding,
            pooling and dense layers: what the readers and detectors here are made of.
        images: representative ones, float32 (N, H, W, C), in what the network takes.
        low, high: the range of the network's input, in the same units; it stays fixed.

    Raises:
        BuildError: a layer that the toolkit cannot simulate.
    """
    tf = tensorflow()
    quantize = optimization().quantization.keras.quantize_model
    try:
        # The layers need no help from autograph to be cloned five times, and are twice as fast without it.
        made = tf.autograph.experimental.do_not_convert(quantize)(network)
    except (ValueError, RuntimeError) as exc:
        raise BuildError(
            f"the network cannot be trained quantization-aware: {str(exc).splitlines()[0][:300]}",
            hint="leave the variant int8-qat out",
        ) from exc
    for layer in made.layers:
        if isinstance(getattr(layer, "layer", None), tf.keras.layers.BatchNormalization):
            layer.layer.trainable = False  # which stops its statistics; the wrapper still has its weights
    _begin_ranges(made, _ranges(network, images), low, high)
    made(images[:1], training=True)  # lets each weight's range be that of the weight
    return made


def multiply_input(made: Any, factor: float) -> None:
    """Let a network of `aware` take input `factor` times as large and answer as before.

    Rounding is by fractions of a range, so the range of a convolution that sees the input shrinks with its
    weights.
    """
    for variable in _named(_quantizer_of_input(made), "_min", "_max"):
        variable.assign(variable * factor)
    for first in stems(made):
        for variable in _named(first, "kernel", "kernel_min", "kernel_max"):
            variable.assign(variable / factor)


def _ranges(network: Any, images: NDArray[np.float32]) -> dict[str, tuple[float, float]]:
    """The least and the greatest output of each layer over all images, by the layer's name."""
    tf = tensorflow()
    layers = [layer for layer in network.layers if not isinstance(layer, tf.keras.layers.InputLayer)]
    probe = tf.keras.Model(network.input, [layer.output for layer in layers])

    @tf.function  # type: ignore[untyped-decorator]
    def extremes(batch: Any) -> Any:
        outputs = probe(batch, training=False)
        return tf.stack([[tf.reduce_min(output), tf.reduce_max(output)] for output in outputs])

    seen = np.stack(
        [extremes(images[start : start + _BATCH]).numpy() for start in range(0, len(images), _BATCH)]
    )
    least, greatest = seen[:, :, 0].min(axis=0), seen[:, :, 1].max(axis=0)
    return {
        layer.name: (float(low), float(high))
        for layer, low, high in zip(layers, least, greatest, strict=True)
    }


def _begin_ranges(made: Any, ranges: dict[str, tuple[float, float]], low: float, high: float) -> None:
    """Set what the simulated rounding takes for the extremes of each tensor. A range always holds 0."""
    for variable, value in zip(_named(_quantizer_of_input(made), "_min", "_max"), (low, high), strict=True):
        variable.assign(value)
    for layer in made.layers:
        least, greatest = ranges.get(layer.name.removeprefix("quant_"), (0.0, 0.0))
        for variable in _named(layer, "output_min", "post_activation_min"):
            variable.assign(min(0.0, least))
        for variable in _named(layer, "output_max", "post_activation_max"):
            variable.assign(max(0.0, greatest))


def _quantizer_of_input(made: Any) -> Any:
    """The toolkit's layer behind the input; the only one that it adds and does not wrap around ours."""
    return next(layer for layer in made.layers if type(layer).__name__ == "QuantizeLayer")


def _named(layer: Any, *ends: str) -> list[Any]:
    """A layer's variables whose names end so, in the order asked."""
    names = [(variable.name.partition(":")[0], variable) for variable in layer.weights]
    return [variable for end in ends for name, variable in names if name.endswith(end)]
