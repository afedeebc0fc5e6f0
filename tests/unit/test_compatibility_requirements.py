"""What a model file needs, read off real models and off the converter's own word for it."""

import csv
from pathlib import Path, PurePath

import pytest

from fleetctl.checked_json import Malformed, parse
from fleetctl.compatibility.operations import newest_version, table
from fleetctl.compatibility.requirements import Requirements
from fleetctl.compatibility.versions import Version
from fleetctl.errors import BuildError
from fleetctl.models.edgetpu.versions import newest as newest_of_compiler
from fleetctl.models.requirements import requirements

MODELS = Path(__file__).parents[1] / "cases" / "device"


def test_a_model_that_we_converted() -> None:
    """The tiny model of these tests runs on the first TFLite of all, and on no accelerator."""
    needs = requirements((MODELS / "quadrants.tflite").read_bytes())

    assert (Version(1, 5), (), None) == (needs.tflite, needs.custom, needs.edgetpu)


@pytest.mark.parametrize("cut", [0, 3, 8, 100, 500])
def test_a_damaged_file_is_one_clear_error(cut: int) -> None:
    """Whatever is left of a file, the error says that it is no model."""
    with pytest.raises(BuildError, match="not a TFLite model"):
        requirements((MODELS / "quadrants.tflite").read_bytes()[:cut])


def test_the_converter_says_the_same(shared_data: Path) -> None:
    """Of published models, those that name their own minimum runtime name the one worked out here."""
    rows = _published(shared_data)
    said = {path: row["base_min_tflite_runtime"] for path, row in rows if row["base_min_tflite_runtime"]}
    found = {path: requirements(path.read_bytes()).tflite for path in said}

    assert len(said) >= 9
    assert said == {path: ".".join(map(str, tflite)) for path, tflite in found.items()}


def test_compiled_models_name_their_runtime(shared_data: Path) -> None:
    """The Edge TPU runtime that the compiler asked for is one that compilers of the time could ask for."""
    compiled = sorted((shared_data / "edgetpu/models").glob("*_edgetpu.tflite"))
    asked = [requirements(path.read_bytes()).edgetpu for path in compiled]

    assert len(asked) >= 30
    assert {10, 12, 14} >= set(asked)


def test_mendel_runs_what_the_compiler_reads() -> None:
    """The compiler's own TFLite is that of Mendel, 2.5: the predictor's list is this table, cut there."""
    mendel = Version(2, 5)
    here = {name: newest_version(name, mendel) or 0 for name in table()}

    assert {name: newest_of_compiler(name) for name in table()} == here


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (b"{}", "'operations' is missing"),
        (b'{"operations": {"ADD": 0}, "custom": []}', "operations.ADD: expected at least 1, got 0"),
        (b'{"operations": {"ADD": 5000}, "custom": []}', "operations.ADD: expected at most 1000, got 5000"),
        (b'{"operations": {}, "custom": [1]}', "custom[0]: expected a text, got a number"),
        (b'{"operations": {}, "custom": [], "edgetpu": -1}', "edgetpu: expected at least 0, got -1"),
    ],
)
def test_a_lock_edited_by_hand(document: bytes, says: str) -> None:
    """Requirements that are none are refused by their place."""
    with pytest.raises(Malformed) as caught:
        Requirements.from_json(parse(document))

    assert says == str(caught.value)


def test_operations_that_nobody_knows_are_not_in_any_tflite() -> None:
    """What it needs is said to be unknown, not to be in whatever a board has."""
    known, unknown = {"CONV_2D": 1}, {"CONV_2D": 1, "STABLEHLO_SORT": 1}

    assert "TFLite 1.5" == str(Requirements.of(known, [], None))
    assert "a TFLite that fleetctl does not know" == str(Requirements.of(unknown, [], None))


def test_the_edge_tpus_own_operation_is_not_a_custom_one() -> None:
    """Whether there is an Edge TPU is a question of its own."""
    needs = Requirements.of({}, ["edgetpu-custom-op", "Mine", "Mine"], 14)

    assert Requirements((), ("Mine",), 14) == needs


def _published(shared_data: Path) -> list[tuple[Path, dict[str, str]]]:
    folder = shared_data / "edgetpu"
    with (folder / "pairs.tsv").open(newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    named = [(folder / "models" / PurePath(row["base"]).name, row) for row in rows]
    return [(path, row) for path, row in named if path.exists()]
