"""Writing a file that a user names, such as `--to FILE`: a file is replaced whole, and nothing else is."""

import contextlib
import os
import stat
from pathlib import Path

from fleetctl.errors import UsageError
from fleetctl.store import atomic_write, naming

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_STANDARD = (0, 1, 2)


def write_named(path: Path, data: bytes | str, *, hint: str, new_folder: bool = False) -> None:
    """Replace the file that a user named with `data`, whole; behind a link it is the file that it leads to.

    Raises:
        UsageError: as `place_of`.
        WriteError: the system refuses to write; the old bytes are still there.
    """
    atomic_write(place_of(path, hint=hint, new_folder=new_folder), data)


def place_of(path: Path, *, hint: str, new_folder: bool = False) -> Path:
    """Where the file that a user named lies, or would lie, once links are followed.

    A rename would put a file in the place of whatever is there: for a super-user, of a device, too.

    Args:
        hint: what to do instead, for who named something that is no file.
        new_folder: whether folders that are missing will be made.

    Raises:
        UsageError: a file cannot be there.
        WriteError: the system does not let anybody look.
    """
    place = Path(os.path.realpath(path))
    with naming(path):
        found = _found(path)
        if found is None:
            _demand_folder(place.parent, new_folder=new_folder)
            return place
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{path} is {_KINDS.get(stat.S_IFMT(found.st_mode), 'no file')}", hint=hint)
    if any(_is_open_as(number, found) for number in _STANDARD):  # as /dev/stdout, led into a file by a shell
        raise UsageError(f"{path} is what this command reads from or prints to", hint=hint)
    return place


def _found(path: Path) -> os.stat_result | None:
    """What is there, behind all links; None where nothing is."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_open_as(number: int, found: os.stat_result) -> bool:
    with contextlib.suppress(OSError):  # it is closed
        return os.path.samestat(os.fstat(number), found)
    return False


def _demand_folder(folder: Path, *, new_folder: bool) -> None:
    """Raise unless there is such a folder, or one to make it in."""
    if new_folder:
        folder = next(each for each in (folder, *folder.parents) if each.exists())
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "is not there"
        raise UsageError(f"the folder {folder} {what}", hint="make it first, or name another")
