"""`fleetctl models check` and `inspect`, as a person and as a program read them."""

from pathlib import Path

import pytest
from published import published
from tiny_compiled import compiled_model
from tiny_tflite import Net, encode

from fleetctl.cli import main


@pytest.fixture
def partly(tmp_path: Path) -> Path:
    """A model that is cut after two of its five operations."""
    net = Net()
    last = net.op("RELU", (net.conv(net.input),), (1, 8, 8, 4))
    for _ in range(2):
        last = net.op("SIN", (last,), (1, 8, 8, 4))
    net.op("RELU", (last,), (1, 8, 8, 4))
    file = tmp_path / "partly.tflite"
    file.write_bytes(encode(net.graph()))
    return file


def test_a_program_gets_every_operation(partly: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of the file, each with its reason; null where it is mapped."""
    assert 0 == main(["models", "check", str(partly), "--output", "json"])

    answer = published(capsys.readouterr().out)
    assert "fleetctl.edgetpu-check/v1" == answer["schema"]
    assert (2, 5, 0.4, 1, None) == (
        *(answer["mapped"], answer["total"], answer["share"], answer["subgraphs"], answer["refusal"]),
    )
    assert [0, 1, 2, 3, 4] == [op["index"] for op in answer["ops"]]
    assert {
        "index": 2,
        "subgraph": 0,
        "op": "SIN",
        "version": 1,
        "mapped": False,
        "reason": "the Edge TPU has no SIN",
        "layer": "t5",
        "advice": "move it behind the network, or replace it with a supported operation",
    } == answer["ops"][2]
    assert (True, None, None) == (
        *(answer["ops"][0]["mapped"], answer["ops"][0]["reason"], answer["ops"][0]["layer"]),
    )


def test_a_person_gets_the_first_cause(partly: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Operations are grouped by kind and reason; below, the first cause, its layer, and what to change."""
    assert 0 == main(["models", "check", str(partly)])

    lines = capsys.readouterr().out.splitlines()
    assert [
        "OPERATION  VERSION  COUNT  RUNS ON   WHY",
        "CONV_2D    1        1      Edge TPU",
        "RELU       1        1      Edge TPU",
        "SIN        1        1      CPU       the Edge TPU has no SIN",
        "SIN        1        1      CPU       it comes after SIN, which ends the mapped part",
        "RELU       1        1      CPU       it comes after SIN, which ends the mapped part",
        "",
        "2 of 5 operations (40.0 %) would run on the Edge TPU",
        "first cause: operation 2, SIN: the Edge TPU has no SIN",
        "      layer: t5",
        "     change: move it behind the network, or replace it with a supported operation",
    ] == lines


def test_a_share_can_be_required(partly: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 21 under it, with both numbers; the table comes all the same."""
    assert 21 == main(["models", "check", str(partly), "--require-share", "1.0"])

    said = capsys.readouterr()
    assert "40.0 % of the operations would run on the Edge TPU, under the 100.0 % required" in said.err
    assert "OPERATION" in said.out
    assert 0 == main(["models", "check", str(partly), "--require-share", "0.4"])


def test_a_rejected_model_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What makes the compiler give up is said apart from the single reasons; several subgraphs too."""
    net = Net()
    net.conv(net.input, version=6)
    file = tmp_path / "new.tflite"
    file.write_bytes(encode(net.graph(), net.graph()))

    main(["models", "check", str(file), "--output", "markdown"])

    out = capsys.readouterr().out
    assert "| CONV_2D | 6 | 2 | CPU | version 6 is too new: the compiler's TFLite 2.5 ends at 5 |" in out
    assert "the compiler rejects the model: CONV_2D: version 6 is too new" in out
    assert "it has 2 subgraphs; the compiler maps operations of the first only" in out


def test_a_compiled_model_is_inspected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers for programs, and the same for people."""
    file = tmp_path / "model_edgetpu.tflite"
    file.write_bytes(
        compiled_model(min_runtime=14, cached=b"\1" * 2048, streamed=b"\2" * 512, left=("ARG_MAX",))
    )

    assert 0 == main(["models", "inspect", str(file), "--output", "json"])
    assert {
        "schema": "fleetctl.edgetpu-inspect/v1",
        "file": "model_edgetpu.tflite",
        "custom_ops": 1,
        "min_runtime": 14,
        "on_chip_bytes": 2048,
        "off_chip_bytes": 512,
        "compiler": None,
        "cpu_ops": {"ARG_MAX": 1},
    } == published(capsys.readouterr().out)
    assert 0 == main(["models", "inspect", str(file)])
    assert "parameters streamed         0.5 KiB" in capsys.readouterr().out


def test_a_model_not_compiled_is_told_apart(partly: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has no numbers, and the note names the verb that predicts them; the other way round as well."""
    assert 0 == main(["models", "inspect", str(partly)])
    assert "fleetctl models check" in capsys.readouterr().err

    partly.write_bytes(compiled_model(min_runtime=14, cached=b""))
    assert 20 == main(["models", "check", str(partly)])
    assert "hint: look into it with `fleetctl models inspect`" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["check", "inspect", "compatible"])
def test_what_is_no_model_is_one_clear_error(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, whatever the file, and the error begins with its name; one that is not there is usage."""
    file, cut, nothing = (tmp_path / f"{name}.tflite" for name in ("photo", "cut", "nothing"))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" * 10)
    cut.write_bytes(compiled_model(min_runtime=14, cached=b"")[:40])

    said = {}
    for path in (file, cut, nothing):
        assert (2 if path is nothing else 20) == main(["models", verb, str(path)])
        said[path] = capsys.readouterr().err.splitlines()[0]
    assert {
        file: f"error: {file}: not a TFLite model: it does not say TFL3 where every .tflite file does",
        cut: f"error: {cut}: not a TFLite model: its structure is damaged or cut short",
        nothing: f"error: {nothing}: there is no such file",
    } == said
