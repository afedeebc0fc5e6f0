"""What is made of a board's own words: survey before receipt, and nothing of what is not understood."""

from typing import Any

import pytest

from fleetctl.compatibility.offer import Reported
from fleetctl.compatibility.packages import EdgeTpuLibrary, Interpreter, Package
from fleetctl.compatibility.versions import Version
from fleetctl.observation import Observed

SURVEY: dict[str, Any] = {
    "machine": "aarch64",
    "system": "Debian GNU/Linux 12 (bookworm)",
    "python": {"path": "/opt/fleetctl/venv/bin/python", "exists": True, "version": "3.11"},
    "tflite": "tflite_runtime 2.17.1",
    "libedgetpu": "16.0tf2.17.1-1.bookworm",
    "edge_tpu": True,
}
RECEIPT: dict[str, Any] = {
    "outcome": "passed",
    "accelerator": {"wanted": "required", "used": "edgetpu", "present": True},
    "runtime": {
        "python": "3.11.2",
        "tflite": "tflite_runtime 2.17.1",
        "machine": "aarch64",
        "edgetpu": "BuildLabel(COMPILER=6.3.0 20170516,DATE=redacted,TIME=redacted), RuntimeVersion(14)",
    },
}
SEEN = Interpreter(Package.TFLITE_RUNTIME, Version(2, 17, 1))


def reported(survey: dict[str, Any], receipt: dict[str, Any]) -> Reported:
    return Observed.parse("luxor-01", {"platform": survey, "receipt": receipt}).platform


def test_everything_a_board_says() -> None:
    """Each fact is read, and versions become numbers."""
    expected = Reported(
        system="Debian GNU/Linux 12 (bookworm)",
        machine="aarch64",
        python_path="/opt/fleetctl/venv/bin/python",
        has_python=True,
        python=Version(3, 11),
        interpreter=SEEN,
        library=EdgeTpuLibrary("16.0tf2.17.1", Version(2, 17, 1), 14),
        edge_tpu_runtime=14,
        edge_tpu=True,
        proved_tpu=True,
    )

    assert expected == reported(SURVEY, RECEIPT)


def test_a_receipt_speaks_where_the_survey_is_silent() -> None:
    """A board whose packages cannot be seen still proved a release with some."""
    said = reported({}, RECEIPT)

    assert (SEEN, Version(3, 11, 2), "aarch64") == (said.interpreter, said.python, said.machine)


def test_what_is_there_now_is_what_counts() -> None:
    """A runtime exchanged since the last proof is judged as it is, and the proof no longer speaks for it."""
    said = reported({**SURVEY, "tflite": "ai_edge_litert 2.3.0"}, RECEIPT)

    assert (Interpreter(Package.LITERT, Version(2, 3)), False) == (said.interpreter, said.proved_tpu)


def test_a_runtime_that_was_removed() -> None:
    """The receipt remembers it; the board has it no more."""
    said = reported({**SURVEY, "tflite": ""}, RECEIPT)

    assert (False, None) == (said.has_interpreter, said.interpreter)


@pytest.mark.parametrize("outcome", ["failed", "inconclusive", None])
def test_only_a_passed_proof_speaks_for_a_pair(outcome: str | None) -> None:
    """A service that crashed under the pair proves nothing."""
    assert reported(SURVEY, {**RECEIPT, "outcome": outcome}).proved_tpu is False


@pytest.mark.parametrize(
    ("said", "machine"),
    [("arm64", "aarch64"), ("armv8l", "armv7l"), ("x86_64", "x86_64"), ("riscv64", None), (7, None)],
)
def test_machines_by_the_names_of_wheels(said: object, machine: str | None) -> None:
    """A lab on a Mac has the wheels of aarch64; what is no text is not said."""
    assert machine == reported({"machine": said}, {}).machine


def test_a_simulated_board_says_nothing() -> None:
    """Versions that are no versions are not known, and so refuse nobody."""
    assert Reported() == reported({}, {"runtime": {"tflite": "simulated", "machine": "simulated"}})
