"""Running the Edge TPU compiler where there is one, and saying how to get it where there is none."""

import os
import time
from pathlib import Path

import fake_edgetpu_compiler as fake
import pytest
from toy_build import toy_fleet, toy_model

from fleetctl.build.builder import build
from fleetctl.errors import BuildError, ToolchainMissing
from fleetctl.manifest.schema import VariantName
from fleetctl.models.edgetpu import compiler
from fleetctl.models.edgetpu.compiler import compile_int8


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_model_is_compiled(tmp_path: Path) -> None:
    """Model, counts and sizes come back; sizes from the model, exact to the byte."""
    program = fake.install(tmp_path, fake.honest(tmp_path))

    compiled = compile_int8(program, fake.source())

    assert b"TFL3" == compiled.tflite[4:8]
    assert (2, 3, 2 / 3) == (compiled.report.mapped, compiled.report.total, compiled.tpu_ops)
    assert (14, 2048, 0) == (compiled.min_runtime, compiled.on_chip, compiled.off_chip)
    assert (fake.VERSION, 2 / 3, ()) == (compiled.report.version, compiled.predicted, compiled.disagreements)


def test_the_compiler_is_told_its_time(tmp_path: Path) -> None:
    """Its own time-out is 180 seconds whatever the manifest says, unless it is given another."""
    program = fake.install(tmp_path, f'echo "$timeout" > {tmp_path}/told\n' + fake.honest(tmp_path))

    compile_int8(program, fake.source(), timeout=700)

    assert "700\n" == (tmp_path / "told").read_text()


def test_a_wrong_prediction_is_said(tmp_path: Path) -> None:
    """That is how the predictor gets better: each kind of operation it was wrong about, with both numbers."""
    rows = (*fake.PARTLY[:1], ("RELU", 1, "Operation not supported"), ("SIN", 1, "Mapped to Edge TPU"))
    program = fake.install(tmp_path, fake.honest(tmp_path, fake.stdout(*rows), fake.log(*rows)))

    assert ("RELU: 1 predicted, 0 mapped", "SIN: 0 predicted, 1 mapped") == (
        compile_int8(program, fake.source()).disagreements
    )


def test_a_success_that_mapped_nothing_is_an_error(tmp_path: Path) -> None:
    """Exit 0 and "successfully" do not count; the first reason of the compiler is quoted."""
    rows = (("CONV_2D", 3, "Operation is working on an unsupported data type"),)
    program = fake.install(tmp_path, fake.honest(tmp_path, fake.stdout(*rows), fake.log(*rows)))

    with pytest.raises(
        BuildError,
        match="mapped none of 3 operations: CONV_2D: Operation is working on an unsupported data type",
    ):
        compile_int8(program, fake.source())


def test_a_model_without_a_custom_operation_is_an_error_whatever_the_counts_say(tmp_path: Path) -> None:
    """The model itself is looked into."""
    program = fake.install(tmp_path, fake.honest(tmp_path, model=fake.source()))

    with pytest.raises(BuildError, match="mapped none"):
        compile_int8(program, fake.source())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "echo 'Invalid model: model.tflite'; echo 'Model not quantized'; exit 1",
            r"\(exit 1\): the model is not",
        ),
        ("echo nothing to see", r"made no model \(exit 0\): nothing to see"),
        ("true", r"made no model \(exit 0\): it said nothing"),
        ('echo done; : > "$out/model_edgetpu.tflite"', r"\(exit 0\): done"),
        ('ln -s /etc/passwd "$out/model_edgetpu.tflite"', "it said nothing"),
        ("kill -SEGV $$", r"\(signal 11\): it said nothing"),
        ("yes 'Internal compiler error'", "printed over 4 MiB"),
        ('echo junk > "$out/model_edgetpu.tflite"; echo Total number of operations: 3', "not a TFLite model"),
    ],
    ids=["refused", "no model", "silent", "empty model", "link", "crash", "endless output", "junk"],
)
def test_a_compiler_that_misbehaves_is_one_clear_error(tmp_path: Path, body: str, message: str) -> None:
    """Whatever it does, the build ends with one sentence."""
    with pytest.raises(BuildError, match=message):
        compile_int8(fake.install(tmp_path, body), fake.source())


def test_another_models_file_is_refused(tmp_path: Path) -> None:
    """Counts are believed and the file is shipped: it has to be what was made of the model."""
    program = fake.install(tmp_path, fake.honest(tmp_path, model=fake.compiled(out=(1, 2))))

    with pytest.raises(
        BuildError, match="is another model than it was given: it gives 1x2 int8, not 1x8x8x4 int8"
    ):
        compile_int8(program, fake.source())


def test_all_mapped_is_not_believed_where_the_file_leaves_something(tmp_path: Path) -> None:
    """Else a gate of 100 % would let a model pass that is computed on the processor."""
    whole = (("CONV_2D", 1, "Mapped to Edge TPU"), ("RELU", 2, "Mapped to Edge TPU"))
    program = fake.install(tmp_path, fake.honest(tmp_path, fake.stdout(*whole), fake.log(*whole)))

    with pytest.raises(BuildError, match="calls all 3 operations mapped, and its file leaves SIN 1 on the"):
        compile_int8(program, fake.source())


def test_an_unusable_file_is_the_compilers(tmp_path: Path) -> None:
    """The model that was given is a good one."""
    program = fake.install(tmp_path, fake.honest(tmp_path, model=b"no model at all"))

    with pytest.raises(BuildError, match="edgetpu_compiler wrote is no use: not a TFLite model: it") as e:
        compile_int8(program, fake.source())

    assert "converter" not in e.value.hint


def test_a_failed_run_does_not_count_though_it_left_a_model(tmp_path: Path) -> None:
    """The exit code is believed when it is bad."""
    program = fake.install(tmp_path, fake.honest(tmp_path) + "\nexit 3")

    with pytest.raises(BuildError, match="exit 3"):
        compile_int8(program, fake.source())


def test_a_compiler_that_hangs_is_stopped_with_its_children(tmp_path: Path) -> None:
    """It works in a child process, which would go on for hours."""
    program = fake.install(tmp_path, f"sleep 600 & echo $! > {tmp_path}/child; wait")
    started = time.monotonic()

    with pytest.raises(BuildError, match="took more than 1 s") as refused:
        compile_int8(program, fake.source(), timeout=1, grace=0)

    assert time.monotonic() - started < 20
    assert "edgetpu.timeout" in refused.value.hint
    child = int((tmp_path / "child").read_text())
    while is_running(child):
        assert time.monotonic() - started < 30
        time.sleep(0.05)


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it worked or not."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()

    compile_int8(fake.install(tmp_path, fake.honest(tmp_path)), fake.source())
    with pytest.raises(BuildError):
        compile_int8(fake.install(tmp_path, "exit 1"), fake.source())

    assert [] == list((tmp_path / "temporary").iterdir())


def test_the_compiler_names_its_version(tmp_path: Path) -> None:
    """The version goes into the lock's toolchain."""
    assert fake.VERSION == compiler.version(fake.install(tmp_path, "true"))


def test_a_program_that_is_no_compiler_is_missing(tmp_path: Path) -> None:
    """Of another architecture, or something else by that name."""
    program = tmp_path / "edgetpu_compiler"
    program.write_bytes(b"\x7fELF" + b"\0" * 60)
    program.chmod(0o755)

    with pytest.raises(ToolchainMissing, match="does not run: Exec format error"):
        compiler.version(str(program))
    with pytest.raises(ToolchainMissing, match="does not say its version"):
        compiler.version("/bin/true")


def test_a_missing_compiler_says_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The build stops before anything costly, and names the page and the ways around."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ToolchainMissing) as missing:
        compiler.find()

    assert "variant edgetpu needs edgetpu_compiler, which is not installed" == missing.value.message
    for way in ("docs/edgetpu.md", "compile: container", "compile: ci", "leave edgetpu out"):
        assert way in missing.value.hint


def test_a_build_looks_for_the_compiler_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits through a training to learn that the compiler is missing."""
    fleet, project = toy_fleet(tmp_path, toy_model(variants=(VariantName.EDGETPU,)))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))

    with pytest.raises(ToolchainMissing, match="edgetpu_compiler, which is not installed"):
        build(fleet, project)
