"""Daemons of a lab: processes that outlive the call that started them, known by the lock that each holds."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from fleetctl.errors import FleetError

_LOCK_PATIENCE = 2.0  # seconds
_END_PATIENCE = 15.0
_POLL = 0.02


def start(module: str, argument: str, log: Path, name: str) -> None:
    """Start `python -m module argument`; when this returns, it holds its lock.

    Raises:
        FleetError: it did not start; says why.
    """
    argv = [sys.executable, "-P", "-m", module, argument]
    with log.open("wb") as stream:
        started = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=_environment(), check=False
        )
    if started.returncode != 0:
        raise FleetError(f"the {name}'s daemon did not start: {last_line(log)}", hint=f"see {log}")


def end(lock_file: Path, name: str) -> None:
    """End the daemon that holds the lock, if there is one.

    Raises:
        FleetError: it does not end.
    """
    for step, patience in ((signal.SIGTERM, _END_PATIENCE), (signal.SIGKILL, 2.0)):
        give_up = time.monotonic() + patience
        pid = owner(lock_file)
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, step)
        while owner(lock_file) is not None and time.monotonic() < give_up:
            time.sleep(_POLL)
    if owner(lock_file) is not None:
        raise FleetError(f"the {name}'s daemon does not end", hint=f"it is the process named in {lock_file}")


def last_line(log: Path) -> str:
    """What a daemon said last."""
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def owner(path: Path) -> int | None:
    """Pid of the daemon that holds the lock at `path`; None when no daemon runs."""
    try:
        with path.open("rb") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(stream.read() or 0) or None
    except FileNotFoundError:
        return None
    return None


def lock(path: Path) -> IO[bytes]:
    """The daemon's lock file, locked: the system drops the lock when we are gone, however that came about."""
    stream = path.open("a+b")
    give_up = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another daemon, or merely somebody looking whether there is one
            if time.monotonic() > give_up:
                sys.exit("the lab is running already")
            time.sleep(0.01)
        else:
            return stream


def detach(held: IO[bytes]) -> None:
    """Go on in a child that owns the lock and belongs to no terminal; the lock file names it, and we end."""
    child = os.fork()
    if child:
        held.truncate(0)
        held.write(f"{child}\n".encode())
        held.flush()
        os._exit(0)
    os.setsid()


def is_at(stream: IO[bytes], path: Path) -> bool:
    """Whether the open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _environment() -> Mapping[str, str]:
    """Only what a daemon needs to start: it outlives the shell that called us, and that shell's secrets."""
    names = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "PYTHONWARNINGS", "VIRTUAL_ENV")
    return {name: os.environ[name] for name in names if name in os.environ}
