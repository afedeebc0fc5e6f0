"""A program in the Edge TPU compiler's place: it prints what the real one would, and misbehaves at will."""

import shlex
import stat
from pathlib import Path

from tiny_compiled import compiled_model
from tiny_tflite import Net, encode

VERSION = "16.0.384591198"
FOOTER = "Compilation child process completed within timeout period.\nCompilation succeeded! "

_SCRIPT = """\
#!/bin/sh
if [ "$1" = --version ]; then echo "Edge TPU Compiler version {version}"; exit 0; fi
while [ $# -gt 1 ]; do
  case "$1" in
    --out_dir) out="$2"; shift 2 ;;
    --timeout_sec) timeout="$2"; shift 2 ;;
    *) shift ;;
  esac
done
source="$1"
{body}
"""


def source() -> bytes:
    """An int8 model of three operations, the last of which stays on the processor."""
    net = Net()
    last = net.op("RELU", (net.conv(net.input),), (1, 8, 8, 4))
    net.op("SIN", (last,), (1, 8, 8, 4))
    return encode(net.graph())


def compiled(left: tuple[str, ...] = ("SIN",), out: tuple[int, ...] = (1, 8, 8, 4)) -> bytes:
    """The compiled form of `source`; with another `out`, that of another model."""
    ends = ((1, 8, 8, 3), out)
    return compiled_model(min_runtime=14, cached=b"\1" * 2048, left=left, ends=ends)


def stdout(*rows: tuple[str, int, str]) -> str:
    """What the compiler prints of a model with these operations, with their list."""
    total = sum(count for _, count, _ in rows)
    mapped = sum(count for _, count, status in rows if status == "Mapped to Edge TPU")
    lines = [
        f"Edge TPU Compiler version {VERSION}",
        "Started a compilation timeout timer of 180 seconds.",
        "",
        "Model compiled successfully in 27 ms.",
        "",
        "On-chip memory used for caching model parameters: 2.00KiB",
        "Off-chip memory used for streaming uncached model parameters: 0.00B",
        f"Number of Edge TPU subgraphs: {min(mapped, 1)}",
        f"Total number of operations: {total}",
    ]
    if mapped < total:
        lines.append(f"Number of operations that will run on Edge TPU: {mapped}")
        lines.append(f"Number of operations that will run on CPU: {total - mapped}")
    return "\n".join([*lines, "", *_table(rows), FOOTER])


def log(*rows: tuple[str, int, str]) -> str:
    """The log file of the same."""
    return "\n".join([f"Edge TPU Compiler version {VERSION}", "Input: model.tflite", "", *_table(rows)])


def _table(rows: tuple[tuple[str, int, str], ...]) -> list[str]:
    head = f"{'Operator':<30} {'Count':<10} Status"
    return [head, "", *(f"{op:<30} {count:<10} {status}" for op, count, status in rows)]


PARTLY = (
    ("CONV_2D", 1, "Mapped to Edge TPU"),
    ("RELU", 1, "Mapped to Edge TPU"),
    ("SIN", 1, "Operation not supported"),
)


def install(folder: Path, body: str, version: str = VERSION) -> str:
    """Put the program into a folder. `body` is what it does: shell that knows $out, $source and $timeout."""
    program = folder / "edgetpu_compiler"
    program.write_text(_SCRIPT.format(version=version, body=body))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def honest(
    folder: Path, printed: str = stdout(*PARTLY), logged: str = log(*PARTLY), model: bytes = b""
) -> str:
    """Lines that compile: a model, a log file, and the output."""
    made = folder / "made.tflite"
    made.write_bytes(model or compiled())
    (folder / "made.log").write_text(logged)
    (folder / "printed.txt").write_text(printed)
    where = shlex.quote(str(folder))
    return (
        f'cp {where}/made.tflite "$out/model_edgetpu.tflite"\n'
        f'cp {where}/made.log "$out/model_edgetpu.log"\n'
        f"cat {where}/printed.txt\n"
    )
