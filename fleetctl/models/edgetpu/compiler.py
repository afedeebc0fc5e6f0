"""Google's Edge TPU compiler, where it is installed: an int8 model in, its compiled form out."""

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fleetctl.errors import BuildError, ToolchainMissing

PROGRAM = "edgetpu_compiler"
TIMEOUT = 900.0  # seconds; large models take minutes

_VERSION = re.compile(r"Edge TPU Compiler version (\S+)")
_MAPPED = "Mapped to Edge TPU"
# An operator's row: name, count, where its instances run. The columns are aligned by tabs or spaces.
_ROW = re.compile(r"^(\w+)[ \t]+(\d+)[ \t]+(\S.*?)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A model for the Edge TPU. `tpu_ops` is the fraction of the int8 model's operations that run on it."""

    tflite: bytes
    tpu_ops: float


def find() -> str:
    """Path of the compiler.

    Raises:
        ToolchainMissing: it is not installed.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise ToolchainMissing(
            f"variant edgetpu needs {PROGRAM}, which is not installed",
            hint="it runs on x86-64 Debian and Ubuntu: see https://coral.ai/docs/edgetpu/compiler/#download; "
            "or leave edgetpu out of the model's variants",
        )
    return program


def version(program: str) -> str:
    """What the compiler says of itself."""
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=False)
    found = _VERSION.search(answer.stdout)
    return found.group(1) if found else "unknown"


def compile_int8(program: str, tflite: bytes) -> Compiled:
    """Compile a fully quantized model.

    Raises:
        BuildError: the compiler refused it; the message is the compiler's own last word.
    """
    with tempfile.TemporaryDirectory(prefix="fleetctl-edgetpu-") as name:
        folder = Path(name)
        source = folder / "model.tflite"
        source.write_bytes(tflite)
        log = _run([program, "--show_operations", "--out_dir", name, str(source)])
        try:
            compiled = (folder / "model_edgetpu.tflite").read_bytes()
        except FileNotFoundError:
            raise BuildError(f"{PROGRAM} made no model: {_last_line(log)}") from None
    return Compiled(compiled, mapped_fraction(log))


def mapped_fraction(log: str) -> float:
    """The fraction of operations that a compiler's log says are mapped to the Edge TPU.

    Raises:
        BuildError: the log lists no operations.
    """
    rows = [(int(count), status) for _, count, status in _ROW.findall(log)]
    total = sum(count for count, _ in rows)
    if not total:
        raise BuildError(f"{PROGRAM} did not list the model's operations: {_last_line(log)}")
    return sum(count for count, status in rows if status == _MAPPED) / total


def _run(argv: list[str]) -> str:
    try:
        run = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise BuildError(f"{PROGRAM} took more than {TIMEOUT:.0f} s") from None
    log = run.stdout + run.stderr
    if run.returncode:
        raise BuildError(f"{PROGRAM} failed with exit {run.returncode}: {_last_line(log)}")
    return log


def _last_line(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
