"""The one place TensorFlow is imported: it takes seconds, talks a lot, and comes with the `build` extra."""

import os
from functools import lru_cache
from typing import Any

from fleetctl.errors import ToolchainMissing

_HINT = "install the build tools: `pip install 'fleetctl[build]'`"


@lru_cache(maxsize=1)
def tensorflow() -> Any:
    """The tensorflow module, quiet and on the CPU.

    Raises:
        ToolchainMissing: not installed, or a release whose Keras and converter are others than those we know.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import tensorflow as tf
    except ImportError as exc:
        raise ToolchainMissing(f"TensorFlow is not installed: {exc}", hint=_HINT) from None
    if not tf.__version__.startswith("2.15."):
        raise ToolchainMissing(
            f"TensorFlow {tf.__version__} is installed, and models are built with 2.15: "
            "newer converters emit operations that Edge TPUs refuse",
            hint=_HINT,
        )
    tf.get_logger().setLevel("ERROR")
    return tf
