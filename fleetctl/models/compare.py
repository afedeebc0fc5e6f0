"""The variants of one model side by side: what each costs, what it loses, where it can run."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import asdict
from numpy.typing import NDArray

from fleetctl.artifact import Contract
from fleetctl.device.preprocess import prepare, to_input
from fleetctl.lockfile import ClassDrop
from fleetctl.manifest.schema import VariantName
from fleetctl.models import evaluate, runtime
from fleetctl.models.drops import worst_class
from fleetctl.models.edgetpu import flatbuffer
from fleetctl.models.edgetpu.compiled import CUSTOM_OP
from fleetctl.models.edgetpu.flatbuffer import naming
from fleetctl.models.edgetpu.prediction import predict
from fleetctl.models.evaluate import Evaluation
from fleetctl.models.progress import Progress, silent
from fleetctl.models.samples import Samples

_ROUNDS, _WARM_UP = 200, 10  # how often each variant is timed, and how often run before
_DIFFERENT = 32  # photos that the timed runs take in turn


class Latency(Struct, frozen=True):
    """Milliseconds of one inference on one thread of this machine, a prepared photo in and scores out."""

    mean: float
    p50: float
    p95: float


class Operations(Struct, frozen=True):
    """How many operations of a kind a file has, and in which versions (ascending)."""

    op: str
    count: int
    versions: tuple[int, ...]


class Compared(Struct, frozen=True):
    """One variant.

    `evaluation` and `latency` are None of a file that this machine cannot run: one compiled for the Edge TPU.
    `drop` is the top-1 of float32 less this one's, as a fraction; None where float32 was not built.
    `tpu_share` is the fraction of operations that the compiler is predicted to map to an Edge TPU.
    """

    variant: VariantName
    size: int
    operations: tuple[Operations, ...]
    tpu_share: float | None
    tpu_refusal: str = ""
    evaluation: Evaluation | None = None
    drop: float | None = None
    worst_class: ClassDrop | None = None
    latency: Latency | None = None


class Built(Struct, frozen=True):
    """A built variant: its contract, and the bytes of its model file."""

    contract: Contract
    tflite: bytes


def compare(
    built: Mapping[VariantName, Built],
    samples: Samples,
    progress: Progress = silent,
) -> list[Compared]:
    """Measure variants of one model on the same samples, in the order given.

    Accuracy is measured by the path a board takes. For latency the variants take turns, so that whatever else
    this machine does meanwhile slows all of them alike.

    Args:
        samples: those labelled UNKNOWN are left out.
        progress: hears stages `evaluate VARIANT` and `time`.

    Raises:
        BuildError: no labelled sample, or a file that is no model or does not fit its labels.
    """
    runnable = {variant: one for variant, one in built.items() if not _is_compiled(one)}
    if runnable:
        evaluate.demand_labelled(samples)
    evaluations = {variant: _evaluated(variant, one, samples, progress) for variant, one in runnable.items()}
    latencies = _latencies(runnable, samples, progress)
    reference = evaluations.get(VariantName.FLOAT32)
    return [
        _compared(variant, one, evaluations.get(variant), reference, latencies.get(variant))
        for variant, one in built.items()
    ]


def _is_compiled(built: Built) -> bool:
    with naming(built.contract.model_file):
        return is_compiled(built.tflite)


def is_compiled(tflite: bytes) -> bool:
    """Whether a model file is the Edge TPU compiler's."""
    return any(operation.op == CUSTOM_OP for operation in flatbuffer.operations(tflite))


def count_operations(tflite: bytes) -> tuple[Operations, ...]:
    """The kinds of operations of a model file, the most frequent first."""
    versions: dict[str, list[int]] = {}
    for operation in flatbuffer.operations(tflite):
        versions.setdefault(operation.op, []).append(operation.version)
    kinds = (Operations(op, len(all_), tuple(sorted(set(all_)))) for op, all_ in versions.items())
    return tuple(sorted(kinds, key=lambda kind: (-kind.count, kind.op)))


def _latencies(
    built: Mapping[VariantName, Built], samples: Samples, progress: Progress
) -> dict[VariantName, Latency]:
    """Time each variant on one thread, warm, in turns."""
    runs = {variant: _Run(one, samples) for variant, one in built.items()}
    for run in runs.values():
        for number in range(_WARM_UP):
            run.milliseconds(number)
    taken: dict[VariantName, list[float]] = {variant: [] for variant in runs}
    for number in range(_ROUNDS):
        for variant, run in runs.items():
            taken[variant].append(run.milliseconds(number))
        progress("time", number + 1, _ROUNDS)
    return {variant: _latency(times) for variant, times in taken.items()}


class _Run:
    """An interpreter, and prepared inputs to give it."""

    def __init__(self, built: Built, samples: Samples) -> None:
        contract = built.contract
        tensor = asdict(contract.input)
        self._interpreter: Any = runtime.interpreter(built.tflite, threads=1)
        self._inputs: Sequence[NDArray[Any]] = [
            to_input(prepare(image, contract.preprocess), tensor) for image in samples.images[:_DIFFERENT]
        ]

    def milliseconds(self, number: int) -> float:
        value = self._inputs[number % len(self._inputs)]
        start = time.perf_counter()
        runtime.run(self._interpreter, value)
        return 1000 * (time.perf_counter() - start)


def _latency(milliseconds: Sequence[float]) -> Latency:
    p50, p95 = np.percentile(milliseconds, (50, 95))
    return Latency(float(np.mean(milliseconds)), float(p50), float(p95))


def _evaluated(variant: VariantName, built: Built, samples: Samples, progress: Progress) -> Evaluation:
    contract = built.contract
    with naming(contract.model_file):
        return evaluate.evaluate(
            built.tflite,
            contract.labels,
            contract.preprocess,
            contract.input,
            contract.output,
            samples,
            progress=lambda stage, done, total: progress(f"{stage} {variant}", done, total),
        )


def _compared(
    variant: VariantName,
    built: Built,
    evaluation: Evaluation | None,
    reference: Evaluation | None,
    latency: Latency | None,
) -> Compared:
    prediction = None if evaluation is None else predict(built.tflite)
    drop = worst = None
    if evaluation is not None and reference is not None:
        drop, worst = reference.top1 - evaluation.top1, worst_class(evaluation.per_class, reference.per_class)
    return Compared(
        variant=variant,
        size=len(built.tflite),
        operations=count_operations(built.tflite),
        tpu_share=prediction.share if prediction else None,
        tpu_refusal=prediction.refusal if prediction else "",
        evaluation=evaluation,
        drop=drop,
        worst_class=worst,
        latency=latency,
    )


def kinds(compared: Sequence[Compared]) -> Iterator[str]:
    """Every kind of operation that any variant has, the most frequent first."""
    most: dict[str, int] = {}
    for one in compared:
        for kind in one.operations:
            most[kind.op] = max(most.get(kind.op, 0), kind.count)
    yield from sorted(most, key=lambda op: (-most[op], op))
