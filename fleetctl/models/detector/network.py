"""The detector's network: MobileNet V1 down to a sixteenth of the input, and two convolutional heads.

Its operations are convolutions, depthwise convolutions, padding, reshapes and a logistic function, on tensors
of one batch: an Edge TPU takes them all. What turns its answers into boxes is not part of it.
"""

import math
from typing import Any

from fleetctl.manifest.schema import Architecture
from fleetctl.models.tensorflow import tensorflow

_LAST = "conv_pw_11_relu"  # of stride 16
_CHANNELS = 128  # of each head
# Keras' default of 0.999 takes thousands of steps to forget its start.
_BATCHNORM_MOMENTUM = 0.9
_PRIOR = 0.01  # score of every anchor and label before anything is learnt (Lin et al. 2017, section 4.1)


def build(architecture: Architecture, anchors: int, labels: int) -> Any:
    """A Keras model: float32 (N, H, W, C) in 0..1 -> logits (N, anchors, labels), offsets (N, anchors, 4).

    Args:
        anchors: of each cell. The outputs' second axis counts cells row by row, and anchors within a cell.
    """
    tf = tensorflow()
    backbone = tf.keras.applications.MobileNet(
        input_shape=architecture.input, alpha=architecture.alpha, include_top=False, weights=None
    )
    features = backbone.get_layer(_LAST).output
    logits = _head(features, anchors * labels, "logits", bias=-math.log((1 - _PRIOR) / _PRIOR))
    offsets = _head(features, anchors * 4, "offsets", bias=0.0)
    network = tf.keras.Model(
        backbone.input,
        [
            tf.keras.layers.Reshape((-1, labels), name="logits")(logits),
            tf.keras.layers.Reshape((-1, 4), name="offsets")(offsets),
        ],
    )
    for layer in network.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.momentum = _BATCHNORM_MOMENTUM
    return network


def _head(features: Any, channels: int, name: str, *, bias: float) -> Any:
    layers = tensorflow().keras.layers
    looked = layers.SeparableConv2D(_CHANNELS, 3, padding="same", use_bias=False, name=f"{name}_look")(
        features
    )
    looked = layers.BatchNormalization(name=f"{name}_bn")(looked)
    looked = layers.ReLU(6.0, name=f"{name}_relu")(looked)
    return layers.Conv2D(
        channels,
        1,
        kernel_initializer=tensorflow().keras.initializers.RandomNormal(stddev=0.01),
        bias_initializer=tensorflow().keras.initializers.Constant(bias),
        name=f"{name}_say",
    )(looked)
