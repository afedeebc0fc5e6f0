"""From one TensorFlow function to the TFLite bytes of a variant, whatever network the function belongs to."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetctl.errors import BuildError
from fleetctl.manifest.schema import VariantName
from fleetctl.models.edgetpu import flatbuffer
from fleetctl.models.hush import hushed
from fleetctl.models.tensorflow import tensorflow

INTEGER = (VariantName.INT8, VariantName.INT8_QAT)
"""Variants that compute in integers from end to end: an Edge TPU takes no others."""

_INTEGERS = ("INT8", "UINT8", "INT32", "INT64")


def with_batch_one(network: Any) -> Any:
    """A `tf.Module` whose concrete function `answer` is a Keras network for one image.

    A dynamic batch would add SHAPE, STRIDED_SLICE and PACK, and an Edge TPU takes static shapes only. The
    converter saves what it is given: a bare module takes it 3 seconds, a Keras model of 150 layers 20.
    """
    tf = tensorflow()
    module = tf.Module()
    module.weights = network.weights
    shape = (1, *network.input_shape[1:])
    module.answer = tf.function(network).get_concrete_function(tf.TensorSpec(shape, tf.float32))
    return module


def to_tflite(module: Any, variant: VariantName, representative: NDArray[np.uint8]) -> bytes:
    """The TFLite bytes of `module.answer`.

    Args:
        module: a `tf.Module` with a concrete function `answer` that takes float32 (1, H, W, C), pixels in
            0..255, and gives one tensor or several (a dictionary's come in the order of its keys). For
            int8-qat the function holds the ranges of its activations as fake quantization.
        representative: prepared images, uint8 (N, H, W, C), that show the int8 converter the range of each
            activation; other variants do not look at them.

    Raises:
        BuildError: edgetpu, which is compiled from int8; no representative image; a function that the
            converter cannot convert; or integer variants that are not integer to their ends.
    """
    prepare = _CONVERTERS.get(variant)
    if prepare is None:
        raise BuildError(
            f"the variant {variant} is not converted from a network",
            hint=f"use one of {', '.join(_CONVERTERS)}",
        )
    from tensorflow.lite.python.convert_phase import ConverterError

    converter = tensorflow().lite.TFLiteConverter.from_concrete_functions([module.answer], module)
    prepare(converter, representative)
    try:
        with hushed():
            model = bytes(converter.convert())
    except (ConverterError, ValueError, RuntimeError) as exc:
        why = str(exc).strip().splitlines() or [type(exc).__name__]
        raise BuildError(f"TensorFlow cannot convert the network to {variant}: {why[0][:300]}") from exc
    if variant in INTEGER:
        demand_full_integer(model)
    return model


def demand_full_integer(model: bytes) -> None:
    """Raise `BuildError` unless every tensor is an integer, the ends are uint8, and the batch is 1."""
    for graph in flatbuffer.read(model).graphs:
        for tensor in graph.tensors:
            if tensor.dtype not in _INTEGERS:
                raise BuildError(f"the converter left tensor {tensor.name} as {tensor.dtype}")
        for number in (*graph.inputs, *graph.outputs):
            tensor = graph.tensors[number]
            if tensor.dtype != "UINT8" or tensor.shape[:1] != (1,):
                shape = "x".join(map(str, tensor.shape))
                raise BuildError(f"the converter made tensor {tensor.name} {tensor.dtype} {shape}")


def _float32(converter: Any, representative: NDArray[np.uint8]) -> None:
    del converter, representative


def _dynamic(converter: Any, representative: NDArray[np.uint8]) -> None:
    del representative
    converter.optimizations = [tensorflow().lite.Optimize.DEFAULT]


def _float16(converter: Any, representative: NDArray[np.uint8]) -> None:
    _dynamic(converter, representative)
    converter.target_spec.supported_types = [tensorflow().float16]


def _int8(converter: Any, representative: NDArray[np.uint8]) -> None:
    if not len(representative):
        raise BuildError("there is no representative image to take the range of each layer from")

    def images() -> Iterator[list[NDArray[np.float32]]]:
        yield [_spanning(representative[0])[np.newaxis].astype(np.float32)]
        for image in representative:
            yield [image[np.newaxis].astype(np.float32)]

    tf = tensorflow()
    _uint8_ends(converter)
    converter.representative_dataset = images
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]


def _spanning(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image with a black and a white pixel in a corner.

    The input's range is then that of pixels, and its bytes are the image, whatever images there are to show.
    """
    spanning = image.copy()
    spanning[0, 0], spanning[0, 1] = 0, 255
    return spanning


def _int8_qat(converter: Any, representative: NDArray[np.uint8]) -> None:
    # Ranges are in the graph. Asking for TFLITE_BUILTINS_INT8 would make the converter ask for images.
    del representative
    _uint8_ends(converter)


def _uint8_ends(converter: Any) -> None:
    tf = tensorflow()
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.uint8


_CONVERTERS: dict[VariantName, Callable[[Any, NDArray[np.uint8]], None]] = {
    VariantName.FLOAT32: _float32,
    VariantName.DYNAMIC: _dynamic,
    VariantName.FLOAT16: _float16,
    VariantName.INT8: _int8,
    VariantName.INT8_QAT: _int8_qat,
}
