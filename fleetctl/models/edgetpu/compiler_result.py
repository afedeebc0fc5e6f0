"""What a run of the compiler made: its counts and its model are believed, its word "successfully" is not."""

from collections import Counter
from collections.abc import Iterator

from msgspec import Struct

from fleetctl.errors import BuildError
from fleetctl.models.edgetpu.compiled import Inspection, inspect
from fleetctl.models.edgetpu.compiler_report import MAPPED, Report, parse
from fleetctl.models.edgetpu.flatbuffer import read
from fleetctl.models.edgetpu.graph import Graph
from fleetctl.models.edgetpu.prediction import Prediction, predict

_RENEW = "build again; if it stays so, install edgetpu_compiler 16.0 anew, as docs/edgetpu.md says"


class Compiled(Struct, frozen=True):
    """A model for the Edge TPU, and what its compiler said of it.

    `on_chip` and `off_chip` are bytes of parameters, exact: read from the model. `predicted` is the share of
    operations that `predict` expected to be mapped; `disagreements` say where it was wrong, by kind.
    """

    tflite: bytes
    report: Report
    min_runtime: int
    on_chip: int
    off_chip: int
    predicted: float
    disagreements: tuple[str, ...] = ()

    @property
    def tpu_ops(self) -> float:
        """The fraction of the int8 model's operations that run on the Edge TPU."""
        return self.report.mapped / self.report.total


def accept(source: bytes, tflite: bytes, stdout: str, log: str) -> Compiled:
    """Check what a run made of `source`, however it says that it went.

    Raises:
        BuildError: nothing was mapped, output and log do not say what was, or the file that the run left is
            no model, another one's, or not as they say.
    """
    report, prediction = parse(stdout, log), predict(source)
    found = _looked_into(tflite)
    if not report.mapped or not found.custom_ops:
        raise _nothing_mapped(report, prediction)
    _demand_same_ends(source, tflite)
    _demand_counts_of(found, report)
    return Compiled(
        tflite=tflite,
        report=report,
        min_runtime=found.min_runtime or 0,
        on_chip=found.on_chip or 0,
        off_chip=found.off_chip or 0,
        predicted=prediction.share,
        disagreements=tuple(_disagreements(prediction, report)),
    )


def _looked_into(tflite: bytes) -> Inspection:
    """What the file holds; an error about it says whose it is, for the user gave another one."""
    try:
        return inspect(tflite)
    except BuildError as error:
        raise BuildError(f"what edgetpu_compiler wrote is no use: {error.message}", hint=_RENEW) from error


def _demand_same_ends(source: bytes, tflite: bytes) -> None:
    """Refuse the file of another model: compiling changes neither what goes into a model nor what comes out.

    That is so of every published pair of a model and its compiled form, whatever the compiler's version.
    """
    given, made = read(source).main, read(tflite).main
    for what, of_given, of_made in (
        ("takes", _ends(given, given.inputs), _ends(made, made.inputs)),
        ("gives", _ends(given, given.outputs), _ends(made, made.outputs)),
    ):
        if of_given != of_made:
            raise BuildError(
                f"what edgetpu_compiler wrote is another model than it was given: it {what} {of_made}, "
                f"not {of_given}",
                hint=_RENEW,
            )


def _ends(graph: Graph, tensors: tuple[int, ...]) -> str:
    """Shapes and types, such as `1x32x32x1 int8`."""
    named = (graph.tensors[tensor] for tensor in tensors)
    return ", ".join(f"{'x'.join(map(str, t.shape))} {t.dtype.lower()}".strip() for t in named) or "nothing"


def _demand_counts_of(found: Inspection, report: Report) -> None:
    """Refuse a run that says all is mapped where its file says otherwise: gates go by what is said."""
    if found.cpu_ops and report.mapped == report.total:
        left = ", ".join(f"{op} {count}" for op, count in found.cpu_ops.items())
        raise BuildError(
            f"the Edge TPU compiler contradicts itself: it calls all {report.total} operations mapped, and "
            f"its file leaves {left} on the processor",
            hint=_RENEW,
        )


def _nothing_mapped(report: Report, prediction: Prediction) -> BuildError:
    """The compiler calls this a success; whoever wants an Edge TPU model does not."""
    why = next((f": {row.op}: {row.status}" for row in report.left), "")
    cause = prediction.refusal or "`fleetctl models check` names the first layer that has to change"
    return BuildError(f"the Edge TPU compiler mapped none of {report.total} operations{why}", hint=cause)


def _disagreements(prediction: Prediction, report: Report) -> Iterator[str]:
    """Kinds of operations of which other numbers were mapped than predicted."""
    if report.total != prediction.total:
        yield f"{prediction.total} operations in the model, {report.total} listed by the compiler"
    if report.rows:
        expected = Counter(_kind(op.op) for op in prediction.ops if op.mapped)
        found: Counter[str] = Counter()
        for row in report.rows:
            found[_kind(row.op)] += row.count if row.status == MAPPED else 0
        for op in sorted(expected | found):
            if expected[op] != found[op]:
                yield f"{op}: {expected[op]} predicted, {found[op]} mapped"
    elif prediction.mapped != report.mapped:
        yield f"{prediction.mapped} operations predicted, {report.mapped} mapped"


def _kind(op: str) -> str:
    """A kind of operation as the compiler's log calls it."""
    return op.split(":")[0]
