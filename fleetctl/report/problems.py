"""How errors look: what is wrong, where, and what to try; never a traceback."""

import errno
import tempfile
import traceback
from pathlib import Path

from fleetctl.errors import FleetError, ManifestError, ToolchainMissing, UsageError, WriteError
from fleetctl.report import github
from fleetctl.report.console import printable, say_plainly, talk

# What the kernel says of a disk that takes no more. Whoever writes a file says so with its name.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_SOMETHING_ELSE = "something else lies where fleetctl keeps files of its own: move it away"
# Modules that a plain installation lacks, by the extra that brings them.
EXTRAS = {
    "build": ("PIL", "fontTools", "matplotlib", "sklearn", "tensorflow", "tflite"),
    "dashboard": ("markdown_it", "starlette", "uvicorn"),
    "iothub": ("azure", "cyclonedx"),
    "lab": ("aiohttp", "amqtt", "asyncssh", "docker", "lark"),
}


def unwritten(error: BaseException) -> WriteError | None:
    """The error to show where what was printed could not be written, such as into a file on a full disk."""
    if not isinstance(error, OSError) or error.errno not in _NO_ROOM or error.filename is not None:
        return None
    return WriteError(
        f"the output cannot be written: {error.strerror}", hint="make room where it goes, and run this again"
    )


def nowhere(error: BaseException) -> UsageError | None:
    """The error to show where somebody removed the folder that the command line runs in."""
    if not isinstance(error, FileNotFoundError):
        return None
    try:
        Path.cwd()
    except FileNotFoundError:
        return UsageError("the folder that this runs in is not there any more", hint="`cd` into another")
    return None


def barred(error: BaseException) -> FleetError | None:
    """The error to show where what others left in the fleet's folder keeps us from our own files."""
    if not isinstance(error, OSError) or error.filename is None:
        return None
    match error:
        case PermissionError():
            hint = "work as whoever it belongs to, or have them let you"
        case NotADirectoryError() | IsADirectoryError():
            hint = _SOMETHING_ELSE
        case OSError(errno=errno.ELOOP):  # a link that leads to itself
            hint = _SOMETHING_ELSE
        case OSError(errno=errno.EIO | errno.EROFS | errno.ESTALE):
            hint = "see to the disk that it lies on"
        case _:
            return None
    return FleetError(f"{error.filename}: {error.strerror}", hint=hint)


def lacking(error: BaseException) -> ToolchainMissing | None:
    """The error to show where a verb needs a package of an extra that is not installed."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return None
    package = error.name.partition(".")[0]
    for extra, packages in EXTRAS.items():
        if package in packages:
            return ToolchainMissing(f"{package} is not installed", hint=f"pip install 'fleetctl[{extra}]'")
    return None


def error_text(error: FleetError) -> str:
    """The message of an error as a user sees it."""
    lines = [str(problem) for problem in error.problems] if isinstance(error, ManifestError) else []
    lines.append(f"error: {error.message}")
    if error.hint:
        lines.append(f"hint: {error.hint}")
    return github.defused(printable(talk.spelled("\n".join(lines))))


def show_error(error: FleetError) -> None:
    """Print an error on standard error, and mark its places where a pull request is looked at."""
    say_plainly(error_text(error))
    github.annotate(error)


def show_internal_error(error: BaseException) -> None:
    """Say that fleetctl itself is at fault, and keep the traceback for the report."""
    with tempfile.NamedTemporaryFile("w", prefix="fleetctl-", suffix=".log", delete=False) as log:
        traceback.print_exception(error, file=log)
    say_plainly(
        printable(f"error: fleetctl failed in a way it should not: {type(error).__name__}: {error}\n")
        + f"hint: please report it with {log.name}; FLEETCTL_DEBUG=1 shows the traceback here"
    )
