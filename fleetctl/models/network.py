"""From the manifest's architecture to a Keras network that has learnt nothing of signs yet."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fleetctl.errors import BuildError
from fleetctl.manifest.buildable import obstacles
from fleetctl.manifest.schema import Architecture, ArchitectureName, Model, Weights
from fleetctl.models import efficientnet_lite, imagenet
from fleetctl.models.tensorflow import tensorflow

# Keras' default of 0.999 takes thousands of steps to forget its start: a network trained for a few thousand
# steps would be evaluated with statistics it never had.
_BATCHNORM_MOMENTUM = 0.9


def demand_buildable(model: Model) -> None:
    """Raise `BuildError` where no build can make a model; nothing heavy is imported."""
    for obstacle in obstacles(model):
        raise BuildError(f"model {model.name}: {obstacle.what}", hint=obstacle.hint)


def build(architecture: Architecture, classes: int, *, any_size: bool = False) -> Any:
    """One member: a Keras model from images (N, H, W, C) in 0..1 to logits (N, classes), fit to be trained.

    With `any_size`, which only an `efficientnet_lite0` has, H and W are those of each batch.

    Raises:
        BuildError: the ImageNet weights are damaged.
        ToolchainMissing: the ImageNet weights are not installed.
    """
    tf = tensorflow()
    if architecture.name is ArchitectureName.MOBILENET_V2:
        return _mobilenet(architecture, classes)
    network = _backbone(architecture, any_size=any_size)
    pooled = tf.keras.layers.GlobalAveragePooling2D(name="features")(network.output)
    return tf.keras.Model(network.input, tf.keras.layers.Dense(classes, name="logits")(pooled))


def joined(architecture: Architecture, members: Sequence[Any]) -> Any:
    """One network, of the size the architecture says, whose logits are the mean of those of `members`.

    These `build` made, and they have learnt. They look at the same image side by side; their features lie in
    a row before one dense layer, that of all members, so that integer variants round the logits once.
    """
    if len(members) == 1:
        return _of_its_size(architecture, members[0])
    tf = tensorflow()
    layers = tf.keras.layers
    prefixes = [f"member{number}." for number in range(len(members))]
    image = tf.keras.Input(architecture.input)
    pooled = [
        layers.GlobalAveragePooling2D(name=f"{prefix}features")(
            efficientnet_lite.maps(image, architecture.blocks, _BATCHNORM_MOMENTUM, prefix=prefix)
        )
        for prefix in prefixes
    ]
    head = layers.Dense(members[0].output_shape[-1], name="logits")
    network = tf.keras.Model(image, head(layers.Concatenate(name="features")(pooled)))
    for prefix, member in zip(prefixes, members, strict=True):
        for layer in member.layers:
            if layer.weights and layer.name != head.name:
                network.get_layer(prefix + layer.name).set_weights(layer.get_weights())
    kernels, biases = zip(*(member.get_layer(head.name).get_weights() for member in members), strict=True)
    head.set_weights([np.concatenate(kernels) / len(members), np.mean(biases, axis=0)])
    return network


def _of_its_size(architecture: Architecture, member: Any) -> Any:
    if member.input_shape[1:] == architecture.input:
        return member
    network = build(architecture, member.output_shape[-1])
    network.set_weights(member.get_weights())
    return network


def stems(network: Any) -> list[Any]:
    """The convolutions that no other convolution comes before: the first of each member."""
    tf = tensorflow()
    found = []
    first = network.inputs[0]._keras_history.layer  # a Sequential does not list it
    next_ones = [node.layer for node in first.outbound_nodes]
    while next_ones:
        layer = next_ones.pop()
        if isinstance(getattr(layer, "layer", layer), tf.keras.layers.Conv2D):
            found.append(layer)
        else:
            next_ones += [node.layer for node in layer.outbound_nodes]
    return found


def features(architecture: Architecture) -> Any:
    """What a logistic regression is given to learn from: a Keras model from images to features (N, F).

    Every four neighbours of a map are averaged, and what is left of the maps is laid out in a row, so that
    the features still say where in the photo something was. A network that learns on can carry that in its
    maps; one that stays as it is cannot, and signs share their strokes and differ in where they have them.
    """
    tf = tensorflow()
    network = _backbone(architecture)
    pool = tuple(min(2, side) for side in network.output_shape[1:3])
    averaged = tf.keras.layers.AveragePooling2D(pool, name="places")(network.output)
    return tf.keras.Model(network.input, tf.keras.layers.Flatten(name="features")(averaged))


def _backbone(architecture: Architecture, *, any_size: bool = False) -> Any:
    shape = (None, None, architecture.input[-1]) if any_size else architecture.input
    network = efficientnet_lite.backbone(shape, architecture.blocks, _BATCHNORM_MOMENTUM)
    if architecture.weights is Weights.IMAGENET:
        imagenet.load_into(network, imagenet.tensors())
    return network


def _mobilenet(architecture: Architecture, classes: int) -> Any:
    tf = tensorflow()
    network = tf.keras.applications.MobileNetV2(
        input_shape=architecture.input,
        alpha=architecture.alpha,
        weights=None,
        classes=classes,
        classifier_activation=None,
    )
    for layer in network.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.momentum = _BATCHNORM_MOMENTUM
    return network
