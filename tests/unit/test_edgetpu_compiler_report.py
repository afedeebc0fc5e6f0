"""Everything `edgetpu_compiler` prints, in the shapes that its versions print it in."""

from pathlib import Path

import pytest
import yaml

from fleetctl.errors import BuildError
from fleetctl.models.edgetpu.compiler_failure import failure
from fleetctl.models.edgetpu.compiler_report import Report, Row, parse, version

CASES = Path(__file__).parents[1] / "cases/edgetpu_compiler"
FAILURES = yaml.safe_load((CASES / "failures.yaml").read_text())


def printed(name: str) -> Report:
    return parse((CASES / name).read_text())


def test_a_model_mapped_whole() -> None:
    """The sentences about the processor are absent: then all operations are on the Edge TPU."""
    report = printed("stdout_fully_mapped.txt")

    assert ("16.0.384591198", 69, 69, 1) == (report.version, report.mapped, report.total, report.subgraphs)
    assert (1_300_234, 0) == (report.on_chip, report.off_chip)


def test_a_model_mapped_in_part() -> None:
    """Both numbers are said, with or without the list."""
    report = printed("stdout_partly_mapped_without_list.txt")

    assert (222, 229, ()) == (report.mapped, report.total, report.rows)
    assert (7_224_689, 179_200) == (report.on_chip, report.off_chip)


def test_old_versions_name_sizes_otherwise() -> None:
    """What is available is not taken for what is used."""
    report = printed("stdout_old_names_of_sizes.txt")

    assert ("1.0.249710469", 1, 3, 10_240) == (report.version, report.mapped, report.total, report.on_chip)
    assert ["DEQUANTIZE", "QUANTIZE"] == [row.op for row in report.left]


def test_a_success_that_mapped_nothing_is_counted_as_nothing() -> None:
    """No sentence about the processor, and not one subgraph."""
    report = printed("stdout_success_that_mapped_nothing.txt")

    assert (0, 69) == (report.mapped, report.total)


def test_every_status_is_a_row() -> None:
    """Whatever the compiler calls its reason, only one status means mapped."""
    report = printed("every_status.log")

    assert (12, 34, 10) == (report.mapped, report.total, len(report.rows))
    assert Row("CUSTOM", 1, "Operation is working on an unsupported data type") in report.left


def test_the_log_file_tells_what_the_output_leaves_out() -> None:
    """Its list goes with the sizes of the output."""
    output = (CASES / "stdout_partly_mapped_without_list.txt").read_text()
    log = "CONV_2D    222  Mapped to Edge TPU\nRESHAPE    7  Operation not supported\n"

    assert 2 == len(parse(output, log).rows)


def test_output_and_log_must_agree() -> None:
    """A compiler that contradicts itself is not believed either way."""
    output = (CASES / "stdout_partly_mapped_without_list.txt").read_text()

    with pytest.raises(BuildError, match="counts 222 of 229 operations as mapped and lists 1 of 1"):
        parse(output, "CONV_2D    1  Mapped to Edge TPU\n")


def test_counts_must_add_up() -> None:
    """Nobody can say which of three numbers is wrong."""
    output = (CASES / "stdout_partly_mapped_without_list.txt").read_text()

    with pytest.raises(BuildError, match="222 operations on the Edge TPU and 7 on the processor are not 500"):
        parse(output.replace("Total number of operations: 229", "Total number of operations: 500"))


@pytest.mark.parametrize("text", ["", "Edge TPU Compiler version 16.0\n", "CONV_2D 99999999999999 Mapped"])
def test_what_was_not_counted_is_not_called_mapped(text: str) -> None:
    """A run that lists nothing is no evidence."""
    with pytest.raises(BuildError, match="did not say where the operations run"):
        parse(text)


def test_every_real_log_is_understood(shared_data: Path) -> None:
    """The logs of compilers 1.0 and 15.0 all list their operations."""
    reports = {log.name: parse("", log.read_text()) for log in shared_data.glob("edgetpu/logs/*.log")}
    partly = {name: report for name, report in reports.items() if report.mapped < report.total}

    assert len(reports) >= 30
    assert {"face_detection_front_128_full_integer_quant_edgetpu.log"} == set(partly)
    assert [(75, 78)] == [(report.mapped, report.total) for report in partly.values()]
    assert {"1.0.249710469", "15.0.340273435"} >= {report.version for report in reports.values()}


@pytest.mark.parametrize("case", FAILURES, ids=lambda case: case["output"])
def test_a_failure_is_one_sentence_with_what_to_do(case: dict[str, str]) -> None:
    """Causes are told from their consequences, which are printed after them."""
    error = failure((CASES / case["output"]).read_text(), "exit 1")

    assert f"edgetpu_compiler made no model (exit 1): {case['says']}" == error.message
    assert case["hint"] == error.hint


def test_an_unknown_failure_is_quoted() -> None:
    """Without the lines that come with every run."""
    text = "Segmentation fault\nCompilation child process completed within timeout period.\n"

    assert failure(text, "signal 11").message.endswith("(signal 11): Segmentation fault")
    assert failure("", "exit 1").message.endswith("(exit 1): it said nothing")


def test_the_version_is_in_the_banner() -> None:
    """And nowhere else."""
    assert "16.0.384591198" == version("Edge TPU Compiler version 16.0.384591198\n")
    assert version("edgetpu_compiler: not found") is None
