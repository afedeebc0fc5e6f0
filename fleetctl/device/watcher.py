"""The process that `activate` leaves behind: it undoes what nobody confirms."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING

from .board_error import BoardError
from .clock import POLL_S
from .durable import shorten
from .locks import is_flocked, locked, try_flock
from .login_session import leave_session
from .pending import must_revert
from .recovery import recover
from .talk import complain

if TYPE_CHECKING:
    from .activation import Activation

WATCH_RETRY_S = 2.0


def start_watcher(activation: Activation) -> None:
    """Leave behind a process that undoes what is pending unless it is confirmed; returns once it watches.

    The caller holds the lock, and may put a release on probation until it lets go of it.

    It is a fork, not a new program: it needs no file of ours on the board, and runs the very code that wrote
    the state it watches.
    """
    shorten(activation.board.in_state("watch.log"), 64 << 10)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        become_watcher(activation, writer)
    os.close(writer)
    os.waitpid(child, 0)
    alive = os.read(reader, 1)
    os.close(reader)
    if not alive:
        raise BoardError("watcher-failed", "the watcher did not start, so nothing was changed")


def become_watcher(activation: Activation, ready: int) -> None:
    """Never returns: the rest of a detached process."""
    status = 1
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        log = os.open(activation.board.in_state("watch.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        for handle in range(3, 256):  # the caller's lock and pipes among them
            if handle != ready:
                with contextlib.suppress(OSError):
                    os.close(handle)
        outlive_session()
        watch(activation, ready)
        status = 0
    except BaseException:  # noqa: BLE001 - nobody is left to catch it; the log says why
        import traceback

        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


def outlive_session() -> None:
    """Where that cannot be had, watching goes on all the same: most boards end nothing with a session."""
    try:
        leave_session()
    except BoardError as error:
        complain("watch: still in the login session: %s" % error)


def watch(activation: Activation, ready: int) -> None:
    """One watcher at a time; a second one waits for the first to end, then sees to what is pending then."""
    board = activation.board
    handle = os.open(board.in_state("watch.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    free = try_flock(handle)
    os.write(ready, b"!")
    os.close(ready)
    if not free:
        fcntl.flock(handle, fcntl.LOCK_EX)
    trouble = ""
    while True:
        try:
            if not is_flocked(board.in_state("lock")):  # asked first: a verb at work may yet try something
                if not activation.records.pending:
                    return
                undo_what_must_be(activation)
            trouble = ""
        except Exception as error:  # noqa: BLE001 - whatever it was, giving up would leave the board on trial
            if str(error) != trouble:  # said once: a log that grows would fill the disk
                complain("watch: %s" % error)
            trouble = str(error)
            time.sleep(WATCH_RETRY_S)
        time.sleep(2 * POLL_S)


def undo_what_must_be(activation: Activation) -> None:
    if not must_revert(activation.records.pending):
        return
    try:
        with locked(activation.board, "watch", 1.0):
            # Not on standard output, which a script that was sent keeps for its reply.
            complain("watch: %s" % recover(activation))
    except BoardError as error:
        if error.code != "busy":  # a verb came first; look again when it is done
            raise
