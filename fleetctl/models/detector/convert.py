"""From a trained detector to the TFLite bytes of one variant: one input, then scores and boxes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fleetctl.artifact import Tensor
from fleetctl.device.boxes import tiles
from fleetctl.device.preprocess import prepare
from fleetctl.errors import BuildError
from fleetctl.manifest.schema import VariantName
from fleetctl.models.converter import to_tflite
from fleetctl.models.detector.inference import ends
from fleetctl.models.detector.scenes import Scene
from fleetctl.models.detector.train import TrainedDetector
from fleetctl.models.samples import Grey
from fleetctl.models.tensorflow import tensorflow

# Of an anchor: the most that a step of an int8 offset may move a box. IoU 0.5 forgives ten times that.
_COARSEST = 0.03
_NO_TILES = np.zeros((0, 1, 1, 1), np.uint8)


def convert(
    trained: TrainedDetector, variant: VariantName, scenes: Sequence[Scene], *, count: int = 100
) -> bytes:
    """A TFLite model with batch 1 that takes prepared pixels (0..255).

    It gives scores (1, N, labels) of 0..1, and boxes (1, N, 4) as offsets to the anchors, in either order.

    Args:
        scenes: from training; `count` tiles of them show the converter each layer's range.

    Raises:
        BuildError: a variant that is not built here, a converted model that is not what was asked for, or one
            whose integers are too coarse to place boxes.
    """
    if variant is VariantName.INT8_QAT:
        raise BuildError(
            f"the variant {variant} is not built of a detector",
            hint="use int8: the ranges come from tiles after training",
        )
    prepared = representative_tiles(trained, scenes, count)
    model = to_tflite(as_module(trained), variant, np.stack(prepared) if prepared else _NO_TILES)
    if variant is VariantName.INT8:
        demand_fine_boxes(ends(model, len(trained.labels)).boxes, trained.detection["scales"])
    return model


def demand_fine_boxes(boxes: Tensor, scales: Sequence[float]) -> None:
    """Raise `BuildError` where a step of the quantized offsets moves or stretches a box visibly.

    It happens where a few anchors that nobody asked ever answered with huge offsets.
    """
    step = boxes.scale / min(scales)
    if not 0 < step <= _COARSEST:
        raise BuildError(
            f"the int8 model can place boxes in steps of {100 * step:.1f} % of their size only",
            hint="train for more epochs, or with a lower `training.learning_rate`",
        )


def as_module(trained: TrainedDetector) -> Any:
    """A `tf.Module` whose function `answer` takes one tile of prepared pixels: scores and boxes.

    The input's scale is folded into the first convolution, and the scores' logistic function is at the end.
    """
    tf = tensorflow()
    network = tf.keras.models.load_model(trained.weights, compile=False)
    first = next(layer for layer in network.layers if isinstance(layer, tf.keras.layers.Conv2D))
    first.set_weights([weights / 255.0 for weights in first.get_weights()])
    module = tf.Module()
    module.weights = network.weights

    def answer(pixels: Any) -> tuple[Any, Any]:
        logits, offsets = network(pixels, training=False)
        return tf.sigmoid(logits), offsets

    shape = (1, *network.input_shape[1:])
    module.answer = tf.function(answer).get_concrete_function(tf.TensorSpec(shape, tf.float32))
    return module


def representative_tiles(trained: TrainedDetector, scenes: Sequence[Scene], count: int) -> list[Grey]:
    """At most `count` prepared tiles uint8 (H, W, C), evenly over the scenes' tiles, photographed ones first.

    Photographs come first since they are what a board sees.
    """
    height, width = (int(side) for side in trained.preprocess["shape"][:2])
    places = [
        (scene, place)
        for scene in sorted(scenes, key=lambda scene: scene.complete)
        for place in tiles(scene.image.shape[0], scene.image.shape[1], height, width, 0)
    ]
    photographed = sum(1 for scene, _ in places if not scene.complete)
    chosen = _spread(places[:photographed], count - count // 4 if photographed < len(places) else count)
    chosen += _spread(places[photographed:], count - len(chosen))
    return [
        prepare(scene.image[top : top + height, left : left + width], trained.preprocess)
        for scene, (top, left) in chosen
    ]


def _spread(items: Sequence[Any], count: int) -> list[Any]:
    step = max(1, -(-len(items) // max(1, count)))
    return list(items[::step])[: max(0, count)]
