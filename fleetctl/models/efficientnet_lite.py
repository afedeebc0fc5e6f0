"""EfficientNet-Lite0: the EfficientNet made for integer accelerators, with ReLU6 and no squeeze-excitation.

Structure after Google's efficientnet/lite (github.com/tensorflow/tpu, models/official/efficientnet/lite):
the blocks of EfficientNet-B0 (Tan and Le, ICML 2019). Every operation is a convolution, an addition, a mean
or a dense layer, all of which an Edge TPU has.
"""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from fleetctl.models.tensorflow import tensorflow

STEM = 32  # channels
HEAD = 1280  # channels of the features behind all sixteen blocks
BATCHNORM_EPSILON = 1e-3


class Block(Struct, frozen=True):
    """An inverted residual: widen by `expansion`, filter each channel by `kernel`, narrow to `channels`."""

    kernel: int
    stride: int
    expansion: int
    channels: int


def _stage(repeats: int, kernel: int, stride: int, expansion: int, channels: int) -> Iterator[Block]:
    for number in range(repeats):
        yield Block(kernel, stride if number == 0 else 1, expansion, channels)


BLOCKS: tuple[Block, ...] = (
    *_stage(1, 3, 1, 1, 16),
    *_stage(2, 3, 2, 6, 24),
    *_stage(2, 5, 2, 6, 40),
    *_stage(3, 3, 2, 6, 80),
    *_stage(3, 5, 1, 6, 112),
    *_stage(4, 5, 2, 6, 192),
    *_stage(1, 3, 1, 6, 320),
)


def backbone(shape: tuple[int | None, int | None, int], blocks: int, batchnorm_momentum: float) -> Any:
    """A Keras model from images (N, H, W, C) to the maps (N, h, w, channels) of the last block kept.

    Where height and width of `shape` are None, it takes images of any size. Layers are named as in the
    published checkpoint, less the underscore in front.
    """
    tf = tensorflow()
    image = tf.keras.Input(shape)
    return tf.keras.Model(image, maps(image, blocks, batchnorm_momentum), name="backbone")


def maps(image: Any, blocks: int, batchnorm_momentum: float, *, prefix: str = "") -> Any:
    """What the last block kept makes of a Keras input; `prefix` comes before the name of every layer.

    With all sixteen blocks the maps are those of the 1x1 convolution to 1280 channels behind them, as in the
    published network.
    """
    tf = tensorflow()
    layers = tf.keras.layers

    def batchnorm(x: Any, name: str) -> Any:
        made = layers.BatchNormalization(
            momentum=batchnorm_momentum, epsilon=BATCHNORM_EPSILON, name=prefix + name
        )
        return made(x)

    def convolve(x: Any, name: str, channels: int, kernel: int, stride: int = 1) -> Any:
        made = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False, name=prefix + name)
        return made(x)

    def add_block(x: Any, name: str, block: Block) -> Any:
        start, channels = x, x.shape[-1]
        if block.expansion != 1:
            x = convolve(x, f"{name}._expand_conv", block.expansion * channels, 1)
            x = layers.ReLU(6.0)(batchnorm(x, f"{name}._bn0"))
        depthwise = layers.DepthwiseConv2D(
            block.kernel, block.stride, padding="same", use_bias=False, name=f"{prefix}{name}._depthwise_conv"
        )
        x = layers.ReLU(6.0)(batchnorm(depthwise(x), f"{name}._bn1"))
        x = batchnorm(convolve(x, f"{name}._project_conv", block.channels, 1), f"{name}._bn2")
        return layers.Add()([x, start]) if (block.stride, block.channels) == (1, channels) else x

    x = layers.ReLU(6.0)(batchnorm(convolve(image, "conv_stem", STEM, 3, 2), "bn0"))
    for number, block in enumerate(BLOCKS[:blocks]):
        x = add_block(x, f"blocks.{number}", block)
    if blocks == len(BLOCKS):
        x = layers.ReLU(6.0)(batchnorm(convolve(x, "conv_head", HEAD, 1), "bn1"))
    return x
