"""The TFLite runtime of this board, whichever package it comes in, on its CPU or its Edge TPU."""

from __future__ import annotations

import ctypes
import importlib
import platform
import sys
from typing import Any, Dict, List, NamedTuple, Tuple

import numpy as np

from .talk import tell

CPU, EDGE_TPU = "cpu", "edgetpu"

_PACKAGES = (
    ("tflite_runtime", "tflite_runtime.interpreter"),
    ("ai_edge_litert", "ai_edge_litert.interpreter"),
    ("tensorflow", "tensorflow.lite.python.interpreter"),  # large, but some boards have it already
)
_EDGE_TPU_LIBRARY = {"Linux": "libedgetpu.so.1", "Darwin": "libedgetpu.1.dylib", "Windows": "edgetpu.dll"}
_EDGE_TPU_OPERATION = b"edgetpu-custom-op"  # what the Edge TPU compiler leaves in a model


class RuntimeRefused(Exception):
    """The model cannot run here in the way that was asked for."""


class TensorInfo(NamedTuple):
    """One end of a model as the interpreter sees it; scale 0 means not quantized."""

    shape: Tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int


class Engine:
    """A loaded model. Not safe for two threads at once."""

    def __init__(self, interpreter: Any, used: str, tflite: str) -> None:
        self._interpreter = interpreter
        self.used = used
        self.tflite = tflite
        self._input = _only_input(interpreter.get_input_details())
        self._outputs = list(interpreter.get_output_details())
        self.input = _info(self._input)
        self.outputs = tuple(_info(details) for details in self._outputs)

    def run(self, tensor: Any) -> List[Any]:
        """One inference; `tensor` has the input's shape and dtype, the results have those of `outputs`."""
        self._interpreter.set_tensor(self._input["index"], tensor)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(details["index"]) for details in self._outputs]

    def versions(self) -> Dict[str, str]:
        """What the receipt says about the software that ran the model."""
        found = {
            "python": platform.python_version(),
            "tflite": self.tflite,
            "numpy": np.__version__,
            "machine": platform.machine(),
        }
        return dict(found, edgetpu=_edge_tpu_version()) if self.used == EDGE_TPU else found


def load(model: bytes, accelerator: str, threads: int) -> Engine:
    """Load a model.

    Args:
        accelerator: `none` (CPU), `preferred` (Edge TPU if there is one) or `required` (Edge TPU or nothing).

    Raises:
        RuntimeRefused: no runtime is installed, the model does not load, or `required` cannot be had.
    """
    module, name = _runtime_module()
    delegates, why_not = _edge_tpu(module, model) if accelerator != "none" else ([], "")
    if accelerator == "required" and not delegates:
        raise RuntimeRefused("the Edge TPU is required: %s" % why_not)
    if why_not:
        tell(sys.stderr, "serve: on the CPU instead of the Edge TPU: %s" % why_not)
    try:
        interpreter = module.Interpreter(
            model_content=model, num_threads=threads, experimental_delegates=delegates
        )
        interpreter.allocate_tensors()
        return Engine(interpreter, EDGE_TPU if delegates else CPU, name)
    except (ValueError, RuntimeError, MemoryError) as error:  # damage claims any size, and any bytes as names
        raise RuntimeRefused("the model does not load: %s" % " ".join(str(error).split())) from None


def _runtime_module() -> Tuple[Any, str]:
    """The interpreter's module, and the package's name and version."""
    for package, module in _PACKAGES:
        try:
            found = importlib.import_module(module)
        except ImportError:
            continue
        version = getattr(importlib.import_module(package), "__version__", "of unknown version")
        return found, "%s %s" % (package, version)
    raise RuntimeRefused(
        "no TFLite runtime is installed: none of %s" % ", ".join(name for name, _ in _PACKAGES)
    )


def _edge_tpu(module: Any, model: bytes) -> Tuple[List[Any], str]:
    """The delegate in a list, or an empty list and the reason."""
    if _EDGE_TPU_OPERATION not in model:
        return [], "the model was not compiled for it"  # with a delegate it would run on the CPU all the same
    library = _edge_tpu_library()
    try:
        return [module.load_delegate(library)], ""
    except (ValueError, OSError) as error:
        said = " ".join(str(error).split()) or "no device answers"
        return [], "%s: %s" % (library, said)


def _edge_tpu_version() -> str:
    """What the library says of itself, as `BuildLabel(...), RuntimeVersion(14)`; empty if it does not."""
    try:
        say = ctypes.CDLL(_edge_tpu_library()).edgetpu_version  # loaded already: it is the delegate
    except (OSError, AttributeError):
        return ""
    say.restype = ctypes.c_char_p
    return (say() or b"").decode("utf-8", "replace")[:200]


def _edge_tpu_library() -> str:
    return _EDGE_TPU_LIBRARY.get(platform.system(), "libedgetpu.so.1")


def _only_input(details: List[Dict[str, Any]]) -> Dict[str, Any]:
    if len(details) != 1:
        raise RuntimeRefused("the model has %d inputs, one is expected" % len(details))
    return details[0]


def _info(details: Dict[str, Any]) -> TensorInfo:
    scale, zero_point = details["quantization"]
    shape = tuple(int(side) for side in details["shape"])
    return TensorInfo(shape, str(np.dtype(details["dtype"])), float(scale), int(zero_point))
