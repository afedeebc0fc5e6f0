"""From a trained network to the TFLite bytes of one variant."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetctl.errors import BuildError
from fleetctl.manifest.schema import VariantName
from fleetctl.models.hush import hushed
from fleetctl.models.reader import Trained, prepare_all
from fleetctl.models.samples import Samples
from fleetctl.models.tensorflow import tensorflow

_REPRESENTATIVE = 300  # samples that show the converter each layer's range


def convert(trained: Trained, variant: VariantName, representative: Samples) -> bytes:
    """A TFLite model with batch 1 that takes prepared pixels (0..255) and gives softmax scores.

    Args:
        representative: samples from training, for variants that need the ranges of activations.

    Raises:
        BuildError: a variant that is not built here, or a converted model that is not what was asked for.
    """
    prepare_converter = _CONVERTERS.get(variant)
    if prepare_converter is None:
        known = ", ".join(_CONVERTERS)
        raise BuildError(
            f"the variant {variant} cannot be built from a trained network", hint=f"use one of {known}"
        )
    tf = tensorflow()
    module = _with_batch_one(_deployable(trained))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.scores], module)
    prepare_converter(converter, prepare_all(_spread(representative), trained.preprocess))
    with hushed():
        model = bytes(converter.convert())
    if variant is VariantName.INT8:
        demand_full_integer(model)
    return model


def demand_full_integer(model: bytes) -> None:
    """Raise `BuildError` unless every tensor is an integer, the ends are uint8, and the batch is 1."""
    from tensorflow.lite.python import schema_py_generated as schema

    names = {number: name for name, number in vars(schema.TensorType).items() if isinstance(number, int)}
    graph = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(model, 0)).subgraphs[0]
    for tensor in graph.tensors:
        if names[tensor.type] not in ("INT8", "UINT8", "INT32", "INT64"):
            raise BuildError(f"the converter left tensor {tensor.name.decode()} as {names[tensor.type]}")
    for number in (*graph.inputs, *graph.outputs):
        tensor = graph.tensors[number]
        if names[tensor.type] != "UINT8" or tensor.shape[0] != 1:
            raise BuildError(
                f"the converter made tensor {tensor.name.decode()} {names[tensor.type]}{tensor.shape}"
            )


def _deployable(trained: Trained) -> Any:
    """The network with its input scale folded into the first convolution, and a softmax at its end."""
    tf = tensorflow()
    network = tf.keras.models.load_model(trained.weights, compile=False)
    first = next(layer for layer in network.layers if isinstance(layer, tf.keras.layers.Conv2D))
    first.set_weights([weights / 255.0 for weights in first.get_weights()])
    return tf.keras.Model(network.input, tf.keras.layers.Softmax(name="scores")(network.output))


def _with_batch_one(network: Any) -> Any:
    """A module whose function `scores` takes one image; a dynamic batch would add operations no Edge TPU has.

    The converter saves what it is given: a bare module takes it 3 seconds, a Keras model of 150 layers 20.
    """
    tf = tensorflow()
    module = tf.Module()
    module.weights = network.weights
    shape = (1, *network.input_shape[1:])
    module.scores = tf.function(network).get_concrete_function(tf.TensorSpec(shape, tf.float32))
    return module


def _spread(samples: Samples) -> Samples:
    """At most a few hundred samples, evenly over the list: drawn and photographed ones, all signs."""
    step = max(1, len(samples) // _REPRESENTATIVE)
    return samples.pick(range(0, len(samples), step))


def _float32(converter: Any, prepared: NDArray[np.uint8]) -> None:
    del converter, prepared


def _dynamic(converter: Any, prepared: NDArray[np.uint8]) -> None:
    del prepared
    converter.optimizations = [tensorflow().lite.Optimize.DEFAULT]


def _float16(converter: Any, prepared: NDArray[np.uint8]) -> None:
    _dynamic(converter, prepared)
    converter.target_spec.supported_types = [tensorflow().float16]


def _int8(converter: Any, prepared: NDArray[np.uint8]) -> None:
    tf = tensorflow()

    def representative() -> Iterator[list[NDArray[np.float32]]]:
        for sample in prepared:
            yield [sample[np.newaxis].astype(np.float32)]

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.uint8


_CONVERTERS: dict[VariantName, Callable[[Any, NDArray[np.uint8]], None]] = {
    VariantName.FLOAT32: _float32,
    VariantName.DYNAMIC: _dynamic,
    VariantName.FLOAT16: _float16,
    VariantName.INT8: _int8,
}
