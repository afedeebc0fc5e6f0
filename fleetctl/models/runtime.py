"""Running a TFLite model here, with whichever of its runtimes is installed."""

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetctl.artifact import Tensor
from fleetctl.errors import BuildError, ToolchainMissing
from fleetctl.models.edgetpu import flatbuffer
from fleetctl.models.edgetpu.compiled import CUSTOM_OP
from fleetctl.models.hush import hushed

_INT8 = "take variant int8, which it was compiled from"
_RUNTIMES = ("tflite_runtime.interpreter", "ai_edge_litert.interpreter", "tensorflow.lite")


def interpreter(model: bytes, *, threads: int = 2, runtimes: Sequence[str] = _RUNTIMES) -> Any:
    """An interpreter with its tensors allocated, from the first runtime of the list that is installed.

    The model's structure is read first: a runtime follows a damaged file's offsets wherever they lead, and
    takes the process with it.

    Raises:
        ToolchainMissing: no runtime is installed, or not the `tflite` package.
        BuildError: the bytes are no TFLite model, or one that this runtime cannot run.
    """
    runtime = _first_installed(runtimes)
    try:
        flatbuffer.read(model)
        with hushed():
            made = runtime.Interpreter(model_content=model, num_threads=threads)
            made.allocate_tensors()
            made.get_input_details(), made.get_output_details()  # names that are no text fail here
    except ToolchainMissing:
        raise
    except BuildError as damaged:
        raise BuildError(f"the model cannot be run: {damaged.message}", hint=damaged.hint) from None
    except (ValueError, RuntimeError, MemoryError) as exc:
        raise _cannot_run(model, exc) from None
    return made


def _cannot_run(model: bytes, why: Exception) -> BuildError:
    if any(operation.op == CUSTOM_OP for operation in flatbuffer.operations(model)):
        return BuildError("the model is compiled for the Edge TPU: only a board with one runs it", hint=_INT8)
    return BuildError(f"the model cannot be run: {why}")


def invoke(made: Any) -> None:
    """Compute the outputs of an interpreter whose inputs are set.

    Raises:
        BuildError: an operation finds out only now that it cannot do what the model asks.
    """
    try:
        made.invoke()
    except (ValueError, RuntimeError) as exc:
        raise BuildError(f"the model cannot be run: {exc}") from None


def tensors(model: bytes) -> tuple[Tensor, Tensor]:
    """The input and output tensor of a model with one of each.

    Raises:
        BuildError: it has more, or is no model.
    """
    made = interpreter(model, threads=1)
    ends = made.get_input_details(), made.get_output_details()
    if any(len(end) != 1 for end in ends):
        raise BuildError(f"the model has {len(ends[0])} inputs and {len(ends[1])} outputs, not one of each")
    return _tensor(ends[0][0]), _tensor(ends[1][0])


def _tensor(details: dict[str, Any]) -> Tensor:
    scale, zero_point = details["quantization"]
    shape = tuple(int(n) for n in details["shape"])
    return Tensor(shape, np.dtype(details["dtype"]).name, float(scale), int(zero_point))


def run(made: Any, value: NDArray[Any]) -> NDArray[Any]:
    """The output tensor for one input tensor."""
    made.set_tensor(made.get_input_details()[0]["index"], value)
    invoke(made)
    return np.asarray(made.get_tensor(made.get_output_details()[0]["index"]))


def _first_installed(runtimes: Sequence[str]) -> Any:
    for name in runtimes:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ToolchainMissing(
        "no TFLite runtime is installed",
        hint="install one: `pip install tflite-runtime` or `pip install ai-edge-litert`",
    )
