"""A service without a service manager: `serve.py` as a plain detached process."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, Dict, List, Optional

from .board_error import BoardError
from .clock import wait_until
from .durable import shorten
from .files import Json, tail, words_of
from .layout import Board
from .locks import is_flocked, try_flock

if TYPE_CHECKING:
    import subprocess

STOP_PATIENCE_S = 5.0


class ProcessService:
    """Keeps `serve.py` running as a plain detached process.

    `serve.pid` is locked on behalf of the service before it is born, and the service inherits the lock: the
    file is locked for exactly as long as the service lives, whoever dies before it.
    """

    def __init__(self, board: Board, config: Json) -> None:
        self._board = board
        self._python = str(config.get("python") or sys.executable)
        self._pidfile = board.in_state("serve.pid")
        self._log = board.in_state("serve.log")
        self._log_start = 0  # where in the log the process that we started begins
        self._child: Optional[subprocess.Popen[bytes]] = None

    @property
    def pid(self) -> Optional[int]:
        words = words_of(self._pidfile) if is_flocked(self._pidfile) else []
        return int(words[0]) if words and words[0].isdigit() else None

    def check(self) -> None:
        """Nothing has to be there but the interpreter, and starting shows whether that is."""

    def start(self, digest: str) -> None:
        import subprocess  # slow to import: only where a service is started

        self.stop()
        folder = self._board.release(digest)
        argv = [self._python, os.path.join(folder, "runtime", "serve.py"), "--release", folder]
        shorten(self._log, 1 << 20)
        lock = self._lock_pidfile()
        try:
            with open(self._log, "ab") as log:
                self._log_start = log.tell()
                self._child = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._board.root,
                    start_new_session=True,
                    pass_fds=(lock,),
                    preexec_fn=lambda: write_pid(lock),
                )
        except subprocess.SubprocessError as error:
            raise BoardError("service-failed", "the service cannot be started: %s" % error) from None
        finally:
            os.close(lock)

    def _lock_pidfile(self) -> int:
        handle = os.open(self._pidfile, os.O_RDWR | os.O_CREAT, 0o644)
        # Somebody may hold it for a moment, to see whether it is held.
        if not wait_until(lambda: try_flock(handle), STOP_PATIENCE_S):
            os.close(handle)
            raise BoardError("service-failed", "another service holds %s" % self._pidfile)
        # Blanks: cut to nothing it would give back its place on the disk, which may be full an instant later.
        os.pwrite(handle, b" " * os.fstat(handle).st_size, 0)
        return handle

    def stop(self) -> None:
        """Ask it to end; end it if it does not."""
        wait_until(lambda: self.pid is not None or not is_flocked(self._pidfile), STOP_PATIENCE_S)
        pid = self.pid
        if pid is not None:
            import signal  # slow to import: as above

            signal_process(pid, signal.SIGTERM)
            if not self._wait_for_end():
                signal_process(pid, signal.SIGKILL)
                self._wait_for_end()
        if self._child is not None:
            import subprocess

            with contextlib.suppress(subprocess.TimeoutExpired):  # it may be stuck in the kernel
                self._child.wait(STOP_PATIENCE_S)
                self._child = None

    def _wait_for_end(self) -> bool:
        return wait_until(lambda: not is_flocked(self._pidfile), STOP_PATIENCE_S)

    def death(self) -> str:
        """How the service died, or empty while it lives."""
        if self._child is not None and self._child.poll() is not None:
            return "it ended with status %d" % self._child.returncode
        return ""

    def is_ours(self, pid: Any) -> bool:
        return pid is not None and pid == self.pid

    def forget(self) -> None:
        """Nothing is left to uninstall."""
        self.stop()

    def count_anew(self) -> None:
        """Nobody counts."""

    def described(self) -> Dict[str, Any]:
        """What is known of the process, for people."""
        pid = self.pid
        return {"manager": "process", "pid": pid, "state": "active" if pid else "stopped", "restarts": None}

    def log_tail(self, lines: int) -> List[str]:
        return tail(self._log, lines, self._log_start)

    def last_words(self, lines: int) -> List[str]:
        """What the process that was started last wrote."""
        return self.log_tail(lines)


def write_pid(handle: int) -> None:
    os.pwrite(handle, b"%d\n" % os.getpid(), 0)


def signal_process(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
