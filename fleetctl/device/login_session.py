"""Out of the login session that a process began in.

logind ends a session with all that it left behind, where `KillUserProcesses=yes` (systemd's own default, but
not Debian's) and the user is not root: logind.conf(5). `setsid` does not help: it goes by control groups.
"""

from __future__ import annotations

import os
import re
import time

from .board_error import BoardError
from .clock import POLL_S
from .commands import run
from .files import words_of

_SESSION = re.compile(r"/user-[1-9]\d*\.slice/session-[^/]+\.scope")
_SYSTEMD = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"]
_PATIENCE_S = 5.0


def leave_session() -> None:
    """Have systemd move this process into a scope of its own.

    Nothing happens outside a user's session, nor without root's rights: systemd would ask for a password.

    Raises:
        BoardError: `watcher-failed`; there is no systemd to ask, or it did not do so.
    """
    if os.geteuid() or not _is_in_session():
        return
    pid = str(os.getpid())
    properties = ["1", "PIDs", "au", "1", pid]  # one property: an array of one process
    scope = ["fleetctl-watch-%s.scope" % pid, "fail", *properties, "0"]
    run(
        ["busctl", "call", *_SYSTEMD, "StartTransientUnit", "ssa(sv)a(sa(sv))", *scope],
        "watcher-failed",
        _PATIENCE_S,
    )
    until = time.monotonic() + _PATIENCE_S
    while _is_in_session():  # the call begins a job, and does not wait for it
        if time.monotonic() > until:
            raise BoardError("watcher-failed", "systemd did not move the process within %d s" % _PATIENCE_S)
        time.sleep(POLL_S)


def _is_in_session() -> bool:
    return any(map(ends_with_login, words_of("/proc/self/cgroup")))


def ends_with_login(group: str) -> bool:
    """Whether logind may end what is in that control group, a line of /proc/PID/cgroup."""
    return bool(_SESSION.search(group))
