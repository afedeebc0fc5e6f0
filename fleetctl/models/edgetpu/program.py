"""Running a program that may misbehave: its time and its output have a bound, its children end with it."""

import contextlib
import os
import selectors
import signal
import subprocess
import time

from msgspec import Struct

from fleetctl.children import environment

MAX_OUTPUT = 4 * 1024 * 1024  # bytes; the compiler prints a few kilobytes

TIMEOUT = "time-out"


class Ended(Struct, frozen=True):
    """How a run ended. `code` is None where it was stopped, and `cause` says why; negative: a signal."""

    code: int | None
    output: str
    cause: str = ""


def run(argv: list[str], *, timeout: float) -> Ended:
    """Run a program to its end, its standard error with its output, or stop it and all it started.

    Raises:
        OSError: it cannot be started.
    """
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=environment(),
    )
    deadline = time.monotonic() + timeout
    try:
        output, cause = _collect(process, deadline)
        cause = cause or _waited(process, deadline)
    finally:
        _end(process)
    return Ended(None if cause else process.returncode, output.decode(errors="replace"), cause)


def _collect(process: "subprocess.Popen[bytes]", deadline: float) -> tuple[bytes, str]:
    """What it prints until it closes its output, and why it was not waited for any longer, if it was not."""
    assert process.stdout is not None
    collected = bytearray()
    with selectors.DefaultSelector() as selector, process.stdout as pipe:
        selector.register(pipe, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if not selector.select(left):
                continue
            part = os.read(pipe.fileno(), 65536)
            if not part:
                return bytes(collected), ""
            collected += part
            if len(collected) > MAX_OUTPUT:
                return bytes(collected), f"it printed over {MAX_OUTPUT // 2**20} MiB"
    return bytes(collected), TIMEOUT


def _waited(process: "subprocess.Popen[bytes]", deadline: float) -> str:
    """Why a program that has closed its output was not waited for any longer; empty where it ended."""
    try:
        process.wait(timeout=max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return TIMEOUT
    return ""


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill whatever of its process group is left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter on macOS: all have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
