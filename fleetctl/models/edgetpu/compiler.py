"""Google's Edge TPU compiler, where it is installed: an int8 model in, its compiled form out."""

import shutil
import tempfile
from pathlib import Path

from fleetctl.errors import BuildError, ToolchainMissing
from fleetctl.models.edgetpu import compiler_report
from fleetctl.models.edgetpu.compiler_failure import failure
from fleetctl.models.edgetpu.compiler_result import Compiled, accept
from fleetctl.models.edgetpu.flatbuffer import MAX_SIZE
from fleetctl.models.edgetpu.program import TIMEOUT, Ended, run

PROGRAM = "edgetpu_compiler"
DEFAULT_TIMEOUT = 900.0  # seconds; large models take minutes
GRACE = 30.0  # seconds that it may take to notice its own time-out
SOURCE, COMPILED, LOG = "model.tflite", "model_edgetpu.tflite", "model_edgetpu.log"

_MAX_LOG = 4 * 1024 * 1024  # bytes


def find() -> str:
    """Path of the compiler.

    Raises:
        ToolchainMissing: it is not installed.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise ToolchainMissing(
            f"variant edgetpu needs {PROGRAM}, which is not installed",
            hint="it runs on x86-64 Debian and Ubuntu: docs/edgetpu.md says how to get it from Google's apt "
            "repository; or set `edgetpu: {compile: container}` or `{compile: ci}`; "
            "or leave edgetpu out of the model's variants",
        )
    return program


def is_installed() -> bool:
    """Whether this machine has the compiler."""
    return shutil.which(PROGRAM) is not None


def version(program: str) -> str:
    """What the compiler says of itself.

    Raises:
        ToolchainMissing: it does not run here, or is something else.
    """
    answer = _run([program, "--version"], 60.0)
    found = compiler_report.version(answer.output)
    if found is None:
        raise ToolchainMissing(
            f"{program} does not say its version: {compiler_report.last_line(answer.output)}",
            hint="install edgetpu_compiler 16.0 anew, as docs/edgetpu.md says",
        )
    return found


def arguments(source: str, out: str, timeout: float) -> list[str]:
    """The compiler's arguments. Its own time-out is 180 seconds unless it is told another."""
    return ["--show_operations", "--timeout_sec", str(max(1, int(timeout))), "--out_dir", out, source]


def compile_int8(
    program: str, tflite: bytes, *, timeout: float = DEFAULT_TIMEOUT, grace: float = GRACE
) -> Compiled:
    """Compile a fully quantized model, once: what fails is not tried again.

    `timeout` is what the compiler is told, in seconds; it is stopped `grace` seconds after that.

    Raises:
        BuildError: the compiler refused the model, failed, took too long, or mapped nothing; in one sentence,
            with what to do about it.
    """
    with tempfile.TemporaryDirectory(prefix="fleetctl-edgetpu-") as name:
        folder = Path(name)
        (folder / SOURCE).write_bytes(tflite)
        ended = _run([program, *arguments(str(folder / SOURCE), name, timeout)], timeout + grace)
        return collect(folder, tflite, ended, timeout)


def collect(folder: Path, source: bytes, ended: Ended, timeout: float) -> Compiled:
    """What a run left in its folder.

    Raises:
        BuildError: as `compile_int8`.
    """
    if ended.cause == TIMEOUT:
        raise BuildError(
            f"{PROGRAM} took more than {timeout:.0f} s",
            hint="raise `edgetpu.timeout` of the model in the manifest, or make the model smaller",
        )
    compiled = _left_in(folder / COMPILED, MAX_SIZE)
    if ended.cause or ended.code or compiled is None:
        raise failure(ended.output, _ending(ended))
    log = (_left_in(folder / LOG, _MAX_LOG) or b"").decode(errors="replace")
    return accept(source, compiled, ended.output, log)


def _left_in(file: Path, most: int) -> bytes | None:
    """The bytes of a file that the compiler wrote; None where there is none of a sane size."""
    if not file.is_file() or file.is_symlink() or not 0 < file.stat().st_size <= most:
        return None
    return file.read_bytes()


def _ending(ended: Ended) -> str:
    if ended.cause:
        return ended.cause
    if ended.code is not None and ended.code < 0:
        return f"signal {-ended.code}"
    return f"exit {ended.code}"


def _run(argv: list[str], timeout: float) -> Ended:
    try:
        return run(argv, timeout=timeout)
    except OSError as error:
        raise ToolchainMissing(
            f"{argv[0]} does not run: {error.strerror}",
            hint="it runs on x86-64 Debian and Ubuntu; docs/edgetpu.md says how to install it",
        ) from error
