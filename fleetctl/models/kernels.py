"""How far a model's scores move between kernels that compute the same graph: the noise of healthy boards.

One TFLite file gives slightly different scores under different kernels, because they round differently.
Three families are known, and all of them run here: the processor's own, XNNPACK's, and the reference kernels.
The last give the very scores of an arm64 board (docs/golden.md), so what a Raspberry Pi will say is measured
on the build host.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import asdict
from numpy.typing import NDArray

from fleetctl.artifact import Tensor
from fleetctl.device.preprocess import from_output, prepare, to_input
from fleetctl.errors import BuildError, ToolchainMissing
from fleetctl.models import runtime
from fleetctl.models.build_tools import HOW_TO_INSTALL
from fleetctl.models.hush import hushed
from fleetctl.models.progress import Progress, silent
from fleetctl.models.samples import Grey

KERNELS = {
    "default": "AUTO",
    "without XNNPACK": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    "reference": "BUILTIN_REF",
}
"""A name for people -> TFLite's op resolver. TensorFlow's default hands integer models to XNNPACK too."""

_RUNTIMES = ("tensorflow.lite.python.interpreter", "tflite_runtime.interpreter", "ai_edge_litert.interpreter")


class Noise(Struct, frozen=True):
    """How far kernels moved each of n samples from the scores it was compared with; float32 (n,) each.

    `score`: of the label that was best there. `gap`: by how much that label's lead over the next one shrank.
    """

    score: NDArray[np.float32]
    gap: NDArray[np.float32]


def noise(reference: NDArray[np.float32], others: Mapping[str, NDArray[np.float32]]) -> Noise:
    """The largest movement over all kernels.

    Args:
        reference: scores (n, labels) of the runtime whose answers are golden.
        others: scores of the same samples under each kernel.
    """
    rows, best = np.arange(len(reference)), reference.argmax(axis=1)
    score, gap = np.zeros(len(reference), np.float32), np.zeros(len(reference), np.float32)
    for scored in others.values():
        score = np.maximum(score, np.abs(scored[rows, best] - reference[rows, best]))
        gap = np.maximum(gap, lead(reference, best) - lead(scored, best))
    return Noise(score, gap)


def lead(scores: NDArray[np.float32], best: NDArray[np.intp]) -> NDArray[np.float32]:
    """How far label `best` of each row lies before the highest other one; negative where it lies behind."""
    rows = np.arange(len(scores))
    others = scores.copy()
    others[rows, best] = -np.inf
    return np.asarray(scores[rows, best] - others.max(axis=1), np.float32)


def scores_by_kernel(
    model: bytes,
    preprocess: Mapping[str, Any],
    input: Tensor,
    output: Tensor,
    images: Sequence[Grey],
    *,
    progress: Progress = silent,
) -> dict[str, NDArray[np.float32]]:
    """Scores (images, labels) of each image under each kernel of this host, one thread each.

    `progress` hears stage `compare kernels`.

    Raises:
        BuildError: the model cannot be run.
        ToolchainMissing: no TFLite runtime is installed.
    """
    values = [to_input(prepare(image, preprocess), asdict(input)) for image in images]
    ends, total = asdict(output), len(KERNELS) * len(values)
    scored: dict[str, NDArray[np.float32]] = {}
    for number, (name, made) in enumerate(_interpreters(model)):
        rows = []
        for value in values:
            rows.append(from_output(runtime.run(made, value), ends))
            progress("compare kernels", number * len(values) + len(rows), total)
        scored[name] = np.stack(rows)
    return scored


def _interpreters(model: bytes) -> Iterator[tuple[str, Any]]:
    found = _runtime()
    for name, resolver in KERNELS.items():
        try:
            with hushed():
                made = found.Interpreter(
                    model_content=model,
                    num_threads=1,
                    experimental_op_resolver_type=found.OpResolverType[resolver],
                )
                made.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise BuildError(f"the model cannot be run with {name} kernels: {error}") from None
        yield name, made


def _runtime() -> Any:
    for name in _RUNTIMES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ToolchainMissing("no TFLite runtime is installed", hint=HOW_TO_INSTALL)
