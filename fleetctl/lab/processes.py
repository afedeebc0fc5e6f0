"""The processes of a virtual board, found by the mark that every one of them inherits in its environment.

A power cut takes all of them: sessions, the service, the watcher of a release on probation. Their pid files
would not do, since a board that is being tested may well be about to lose them.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from fleetctl import children
from fleetctl.errors import FleetError

_MARK = "FLEETCTL_LAB_BOARD"
_PATIENCE = 5.0  # seconds for killed processes to be gone


def environment(home: Path, user: str) -> dict[str, str]:
    """What a command on the board finds in its environment: nothing of the caller's.

    Programs in the board's own `~/bin` come first, as in a login shell of Debian.
    """
    path = [str(home / "bin"), str(Path(sys.executable).parent), "/usr/local/sbin", "/usr/local/bin"]
    path += ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    return {
        "PATH": ":".join(path),
        "HOME": str(home),
        "USER": user,
        "LOGNAME": user,
        "SHELL": "/bin/sh",
        "LANG": "C.UTF-8",
        _MARK: str(home),
    }


def kill_all(homes: Collection[Path]) -> int:
    """Kill every process of the boards that live in `homes`, at once and without warning; say how many.

    Raises:
        FleetError: some would not die.
    """
    killed: set[int] = set()
    give_up = time.monotonic() + _PATIENCE
    while found := running(homes):  # again, since a process may have forked while we looked
        if time.monotonic() > give_up:
            raise FleetError(f"processes {found} of virtual boards do not end", hint="look at them with `ps`")
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed.update(found)
        time.sleep(0.02)
    return len(killed)


def running(homes: Collection[Path]) -> list[int]:
    """Pids of the live processes of the boards that live in `homes`."""
    wanted = {str(home) for home in homes}
    return [pid for pid, home in _marked().items() if home in wanted and pid != os.getpid()]


def _marked() -> Mapping[int, str]:
    """Every marked process we may look at, with the home of its board."""
    return dict(_marked_in_proc() if sys.platform == "linux" else _marked_by_ps())


def _marked_in_proc() -> Iterator[tuple[int, str]]:
    prefix = f"{_MARK}=".encode()
    for name in os.listdir("/proc"):  # noqa: PTH208 - no Path for each of the machine's processes
        if not name.isdecimal():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as stream:  # noqa: PTH123
                variables = stream.read().split(b"\0")
        except OSError:  # gone meanwhile, or somebody else's
            continue
        for variable in variables:
            if variable.startswith(prefix):
                yield int(name), os.fsdecode(variable[len(prefix) :])


def _marked_by_ps() -> Iterator[tuple[int, str]]:
    """As above for macOS and the BSDs; a home runs to the next variable, since it may hold spaces."""
    listing = subprocess.run(
        ["ps", "-axEww", "-o", "pid=,command="],
        capture_output=True,
        text=True,
        check=True,
        env=children.environment(),
    )
    for line in listing.stdout.splitlines():
        pid, _, command = line.strip().partition(" ")
        _, found, rest = command.partition(f" {_MARK}=")
        if found:
            words = rest.split(" ")
            end = next((i for i, word in enumerate(words) if i and "=" in word), len(words))
            yield int(pid), " ".join(words[:end])
