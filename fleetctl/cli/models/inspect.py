"""`fleetctl models inspect`: what a model compiled for the Edge TPU needs, and what it leaves behind."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetctl.cli.options import Output, OutputOption
from fleetctl.cli.result import show

if TYPE_CHECKING:
    from fleetctl.models.edgetpu.compiled import Inspection

INSPECT_SCHEMA = "fleetctl.edgetpu-inspect/v1"


def inspect(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A .tflite file, compiled or not.", show_default=False)
    ],
    output: OutputOption = Output.TABLE,
) -> None:
    """Say what a compiled model takes of the Edge TPU, and which operations the processor still computes."""
    from fleetctl.models.edgetpu import compiled
    from fleetctl.models.edgetpu.flatbuffer import naming, read_file
    from fleetctl.report.console import talk

    model = read_file(file)
    with naming(file):
        found = compiled.inspect(model)
    facts = {"file": file.name, **_facts(found)}
    show(output, schema=INSPECT_SCHEMA, data=facts, columns=["what", "value"], rows=_rows(found))
    if not found.custom_ops and output is not Output.JSON:
        talk.note(
            f"{file} is not compiled for the Edge TPU: `fleetctl models check` says what would be mapped"
        )


def _facts(found: "Inspection") -> dict[str, Any]:
    return {
        "custom_ops": found.custom_ops,
        "min_runtime": found.min_runtime,
        "on_chip_bytes": found.on_chip,
        "off_chip_bytes": found.off_chip,
        "compiler": found.compiler,
        "cpu_ops": dict(found.cpu_ops),
    }


def _rows(found: "Inspection") -> list[list[str]]:
    left = ", ".join(f"{op} {count}" for op, count in found.cpu_ops.items())
    return [
        ["Edge TPU custom operations", str(found.custom_ops)],
        ["minimum runtime", _or_dash(found.min_runtime)],
        ["parameters cached on chip", _size(found.on_chip)],
        ["parameters streamed", _size(found.off_chip)],
        ["compiler", found.compiler or "not recorded"],
        ["operations on the CPU", left or "none"],
    ]


def _or_dash(number: int | None) -> str:
    return "-" if number is None else str(number)


def _size(count: int | None) -> str:
    return "-" if count is None else f"{count / 1024:,.1f} KiB"
