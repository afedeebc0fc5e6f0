"""The one place TensorFlow is imported: it takes seconds, talks a lot, and comes with the `build` extra."""

import os
import warnings
from functools import lru_cache
from typing import Any

from fleetctl.errors import ToolchainMissing
from fleetctl.models.build_tools import HOW_TO_INSTALL

_KERAS_SWITCH = "TF_USE_LEGACY_KERAS"


@lru_cache(maxsize=1)
def tensorflow() -> Any:
    """The tensorflow module, quiet and on the CPU, with the Keras that quantization-aware training knows.

    Raises:
        ToolchainMissing: not installed, or a release whose Keras and converter are others than those we know.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # malloc gives every tensor of more than 32 MB back to the system, and asks for it page by page again.
    os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "true")
    # TensorFlow takes oneDNN's kernels by itself only where a processor has more than AVX2. With that alone,
    # too, a step of training takes three quarters of the time with them.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # It compiles a kernel for each shape and keeps 1,024: too few where batches fall into parts of any size.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16384")
    # Where it is set before TensorFlow is imported, `tf.keras` becomes a mixture of two packages.
    os.environ.pop(_KERAS_SWITCH, None)
    try:
        import tensorflow as tf
    except ImportError as exc:
        raise ToolchainMissing(f"TensorFlow is not installed: {exc}", hint=HOW_TO_INSTALL) from None
    if not tf.__version__.startswith("2.15."):
        raise ToolchainMissing(
            f"TensorFlow {tf.__version__} is installed, and models are built with 2.15: "
            "newer converters emit operations that Edge TPUs refuse",
            hint=HOW_TO_INSTALL,
        )
    tf.get_logger().setLevel("ERROR")
    _settle_keras()
    _leave_keras_as_it_is()
    return tf


@lru_cache(maxsize=1)
def optimization() -> Any:
    """The tensorflow_model_optimization module, which shares its Keras with `tensorflow()`.

    Raises:
        ToolchainMissing: as `tensorflow`; or somebody used `tf.keras` before us, so that the two differ.
    """
    tf = tensorflow()
    import tensorflow_model_optimization as tfmot

    if not tf.keras.layers.Layer.__module__.startswith("tf_keras."):
        raise ToolchainMissing(
            "tf.keras was used before tensorflow_model_optimization was imported, which therefore knows none "
            "of its layers",
            hint="import TensorFlow through fleetctl.models.tensorflow only",
        )
    return tfmot


def _settle_keras() -> None:
    """Make `tf.keras` the package tf-keras: what it is, its first use decides for the life of the process.

    The optimization toolkit takes layers of tf-keras only, and selects it itself when it is imported before
    that first use. It costs half a second against TensorFlow's two to four, so all models are made with the
    same Keras, whether they are quantized or not.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # it compares versions with distutils
            import tensorflow_model_optimization  # noqa: F401
    except ImportError as exc:
        raise ToolchainMissing(
            f"tensorflow-model-optimization is not installed: {exc}", hint=HOW_TO_INSTALL
        ) from None
    finally:
        os.environ.pop(_KERAS_SWITCH, None)  # it would mislead the programs this process starts


def _leave_keras_as_it_is() -> None:
    """Have AutoGraph take tf-keras for the library it is, as it takes the Keras that TensorFlow brings.

    Its rules in TensorFlow 2.15 know only the name `keras`: every function of tf-keras that a training
    touches was translated to itself, which took longer than importing TensorFlow.
    """
    from tensorflow.python.autograph.core import config

    config.CONVERSION_RULES = (config.DoNotConvert("tf_keras"), *config.CONVERSION_RULES)
