"""Running the Edge TPU compiler where there is one, and saying how to get it where there is none."""

import stat
from pathlib import Path

import pytest

from fleetctl.errors import BuildError, ToolchainMissing
from fleetctl.models.edgetpu import compiler as edgetpu_compiler
from fleetctl.models.edgetpu.compiler import compile_int8, mapped_fraction

LOG = Path(__file__).parents[1] / "cases/edgetpu_compiler/partly_mapped.log"


def compiler(folder: Path, script: str) -> str:
    """An executable in the compiler's place, as a shell script; $4 is the output folder's option value."""
    program = folder / "edgetpu_compiler"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def test_the_fraction_of_mapped_operations_is_read_from_the_log() -> None:
    """18 of 20 operations are mapped, whatever the custom ones are called."""
    assert mapped_fraction(LOG.read_text()) == 0.9


def test_every_real_log_is_understood(shared_data: Path) -> None:
    """The logs of real compilers, versions 1.0 and 15.0, all list their operations."""
    fractions = {log.name: mapped_fraction(log.read_text()) for log in shared_data.glob("edgetpu/logs/*.log")}

    assert {
        name: 1.0 for name in fractions if not name.startswith("face_detection")
    }.items() <= fractions.items()
    assert fractions["face_detection_front_128_full_integer_quant_edgetpu.log"] == 75 / 78


def test_a_log_without_operations_is_no_evidence() -> None:
    """What was not counted is not called mapped."""
    with pytest.raises(BuildError, match="did not list the model's operations: Internal compiler error"):
        mapped_fraction("Edge TPU Compiler version 16.0\nInternal compiler error. Aborting!\n\n")


def test_a_model_is_compiled(tmp_path: Path) -> None:
    """The compiled bytes and the mapped fraction come back."""
    program = compiler(
        tmp_path,
        f'cat "$4" > "$3/model_edgetpu.tflite"; echo -n compiled >> "$3/model_edgetpu.tflite"; cat {LOG}',
    )

    compiled = compile_int8(program, b"int8 ")

    assert (compiled.tflite, compiled.tpu_ops) == (b"int8 compiled", 0.9)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "echo Invalid model: model.tflite; echo Model could not be parsed >&2; exit 1",
            "failed with exit 1: Model could not be parsed",
        ),
        ("echo nothing to see", "made no model: nothing to see"),
        ("true", "made no model: it said nothing"),
    ],
    ids=["refused", "no model", "silent"],
)
def test_a_compiler_that_fails_is_quoted(tmp_path: Path, script: str, message: str) -> None:
    """The message carries the compiler's own last word."""
    with pytest.raises(BuildError, match=message):
        compile_int8(compiler(tmp_path, script), b"int8")


def test_the_compiler_names_its_version(tmp_path: Path) -> None:
    """The version goes into the lock's toolchain."""
    program = compiler(tmp_path, "echo Edge TPU Compiler version 16.0.384591198")

    assert edgetpu_compiler.version(program) == "16.0.384591198"


def test_a_missing_compiler_says_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The build stops before anything costly, and names the page and the way around."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ToolchainMissing) as missing:
        edgetpu_compiler.find()

    assert missing.value.message == "variant edgetpu needs edgetpu_compiler, which is not installed"
    assert "coral.ai/docs/edgetpu/compiler" in missing.value.hint
    assert "leave edgetpu out" in missing.value.hint


def test_a_build_looks_for_the_compiler_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits through a training to learn that the compiler is missing."""
    from toy_build import toy_fleet, toy_model

    from fleetctl.build.builder import build
    from fleetctl.manifest.schema import VariantName

    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    fleet, project = toy_fleet(tmp_path, toy_model(variants=(VariantName.EDGETPU,)))

    with pytest.raises(ToolchainMissing):
        build(fleet, project)
