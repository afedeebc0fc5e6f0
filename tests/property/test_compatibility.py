"""Verdicts on any board and any model: fixes are always named, and newer is never worse but for pairs."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fleetctl.checked_json import parse
from fleetctl.compatibility.offer import Reported, offer_of
from fleetctl.compatibility.operations import first_release, newest_version, table
from fleetctl.compatibility.packages import Interpreter, Package, parse_library
from fleetctl.compatibility.requirements import Requirements
from fleetctl.compatibility.rules import Rule, judge
from fleetctl.compatibility.versions import Version
from fleetctl.manifest.schema import Accelerator, Attached, Board, BoardKind, VariantName
from fleetctl.observation import Observed
from fleetctl.store import canonical_json

# A loaded machine is no reason to fail.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Every version there is of every operation, and one that there is not.
operations = st.sampled_from(
    [(name, version) for name, first in sorted(table().items()) for version in range(1, len(first) + 2)]
)
needs = st.builds(
    Requirements.of,
    st.lists(operations, max_size=4).map(dict),
    st.lists(st.sampled_from(["FlexErf", "TFLite_Detection_PostProcess", "Mine"]), max_size=2),
    st.sampled_from([None, 0, 10, 13, 14]),
)
versions = st.builds(Version, st.just(2), st.integers(0, 25), st.integers(0, 3))
pythons = st.builds(Version, st.just(3), st.integers(5, 15))
interpreters = st.builds(Interpreter, st.sampled_from(Package), versions)
libraries = st.sampled_from(
    [parse_library(name) for name in ("16.0", "15.0", "14.1", "16.0tf2.17.1-1.bookworm", "16.0TF2.19.1")]
)
reports = st.builds(
    Reported,
    machine=st.sampled_from([None, "aarch64", "armv7l", "x86_64", "riscv64"]),
    has_python=st.sampled_from([None, True, False]),
    python=st.none() | pythons,
    has_interpreter=st.sampled_from([None, True, False]),
    interpreter=st.none() | interpreters,
    library=st.none() | libraries,
    edge_tpu_runtime=st.sampled_from([None, 10, 13, 14]),
    edge_tpu=st.sampled_from([None, True, False]),
    proved_tpu=st.booleans(),
)
boards = st.builds(
    Board,
    st.just("luxor-01"),
    st.sampled_from(BoardKind),
    st.just("reader"),
    st.just(VariantName.INT8),
    attached=st.sampled_from(Attached),
    runtime=st.fixed_dictionaries(
        {},
        optional={
            "machine": st.sampled_from(["aarch64", "armv7l", "x86_64"]),
            "python": st.sampled_from(["3.7", "3.11", "3.13"]),
            "tflite": st.sampled_from(
                ["tflite-runtime==2.5.0", "tflite-runtime==2.14.0", "ai-edge-litert==2.3.0"]
            ),
            "libedgetpu": st.sampled_from(["16.0", "16.0tf2.17.1-1.bookworm"]),
        },
    ),
)
accelerators = st.sampled_from(Accelerator)


@patient
@given(needs, boards, reports, accelerators)
def test_a_refusal_says_what_is_needed_what_there_is_and_what_to_do(
    need: Requirements, board: Board, report: Reported, accelerator: Accelerator
) -> None:
    """No combination of facts breaks the judge, and none leaves a person without a next step."""
    for refusal in judge(need, offer_of(board, report), accelerator):
        assert all([refusal.needs, refusal.has, refusal.fix, refusal.settings])


@patient
@given(needs, boards, reports, accelerators, versions)
def test_a_newer_interpreter_is_never_worse(
    need: Requirements, board: Board, report: Reported, accelerator: Accelerator, version: Version
) -> None:
    """Of the rules, only the pair with libedgetpu can turn against a board that gets a newer TFLite."""
    interpreter = report.interpreter or Interpreter(Package.TFLITE_RUNTIME, Version(2, 5))
    newer = Interpreter(interpreter.package, max(version, interpreter.version))
    before, after = (
        {
            refusal.rule
            for refusal in judge(need, offer_of(board, replace(report, interpreter=each)), accelerator)
        }
        for each in (interpreter, newer)
    )

    assert after - before <= {Rule.PAIR}


@patient
@given(needs, boards, reports, accelerators, st.sampled_from([0, 1, 4]))
def test_a_newer_edge_tpu_runtime_is_never_worse(
    need: Requirements, board: Board, report: Reported, accelerator: Accelerator, more: int
) -> None:
    """A runtime that takes a package takes it in every later version."""
    runtime = report.edge_tpu_runtime or 10
    before, after = (
        judge(need, offer_of(board, replace(report, edge_tpu_runtime=each)), accelerator)
        for each in (runtime, runtime + more)
    )

    assert {refusal.rule for refusal in after} <= {refusal.rule for refusal in before}


@patient
@given(needs)
def test_requirements_survive_the_lock(need: Requirements) -> None:
    """What is written down is what is read back."""
    assert need == Requirements.from_json(parse(canonical_json(need.to_json())))


@patient
@given(operations)
def test_a_release_runs_what_it_was_first_with(operation: tuple[str, int]) -> None:
    """The two readings of the table agree."""
    name, version = operation
    first = first_release(name, version)

    assert first is None or (newest_version(name, first) or 0) >= version


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner, max_size=2),
    max_leaves=4,
)
texts = st.sampled_from(["tflite_runtime 2.14.0", "2.14", "9" * 30, "RuntimeVersion(14)", "", "16.0tf..."])
surveys = st.dictionaries(
    st.sampled_from(["machine", "system", "python", "tflite", "libedgetpu", "edge_tpu"]),
    json_values | texts | st.dictionaries(st.sampled_from(["path", "exists", "version"]), texts),
)


@patient
@given(
    surveys, st.dictionaries(st.sampled_from(["runtime", "accelerator", "outcome"]), json_values | surveys)
)
def test_a_board_may_report_anything(survey: dict[str, object], receipt: dict[str, object]) -> None:
    """What has the wrong type counts as not said, and the verdict is one that can be kept."""
    seen = Observed.parse("luxor-01", {"platform": survey, "receipt": receipt})
    board = Board("luxor-01", BoardKind.RASPBERRYPI4, "reader", VariantName.INT8)

    assert isinstance(hash(judge(Requirements(), offer_of(board, seen.platform), Accelerator.NONE)), int)
