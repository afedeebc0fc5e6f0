"""A service that systemd keeps, from the unit that its release brings."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from typing import TYPE_CHECKING, Any, Dict, List, Optional

from .board_error import BoardError
from .clock import POLL_S
from .durable import atomic_write, remove
from .files import Json, read_json, sha256_file
from .layout import Board

if TYPE_CHECKING:
    import subprocess


class SystemdService:
    """Has systemd keep the unit of the release running."""

    def __init__(self, board: Board, config: Json, unit_folder: str) -> None:
        self._board = board
        self._unit = str(config.get("unit") or "fleetctl-serve.service")
        if not re.match(r"[A-Za-z0-9@_.-]+\.service\Z", self._unit):
            raise BoardError("bad-release", "not a name of a systemd service: %.80r" % self._unit)
        self.unit_path = os.path.join(unit_folder, self._unit)
        self._note = board.in_state("unit-loaded")
        self._asked = 0.0
        self._seen: Dict[str, str] = {}

    @property
    def pid(self) -> Optional[int]:
        shown = self._show()
        return int(shown.get("MainPID", "0")) or None

    def check(self) -> None:
        """Raises `no-systemd` before anything is touched."""
        if not self._is_present:
            raise BoardError(
                "no-systemd", "this board has no systemctl; the manifest can say `service: process`"
            )

    @property
    def _is_present(self) -> bool:
        import shutil  # slow to import: only where systemd is to be used

        return shutil.which("systemctl") is not None

    def start(self, digest: str) -> None:
        rendered = os.path.join(self._board.release(digest), "unit", self._unit)
        with open(rendered, "rb") as stream:
            unit = stream.read()
        installed, wanted = sha256_file(self.unit_path), hashlib.sha256(unit).hexdigest()
        if not installed == wanted == self._loaded:
            remove(self._note)  # cut short from here on, nobody knows what systemd has loaded
            atomic_write(self.unit_path, unit)
            # Enabling reloads too, and each reload runs every generator of the system: one is enough.
            self._systemctl("--no-reload", "enable", self._unit)
            self._systemctl("daemon-reload")
            with contextlib.suppress(OSError):  # a full disk: the next start has it loaded again
                atomic_write(self._note, wanted.encode())
        if installed is not None:  # else earlier crashes count against this start
            self.count_anew()
        self._systemctl("restart", self._unit)
        self._asked = time.monotonic()

    @property
    def _loaded(self) -> str:
        """Which unit systemd was told to load last; whoever was cut short in between never told it."""
        try:
            with open(self._note) as stream:
                return stream.read()
        except FileNotFoundError:
            return ""

    def count_anew(self) -> None:
        """Forget how often systemd had to start it by itself, for which there may have been other reasons."""
        self._systemctl("reset-failed", self._unit, check=False)

    def stop(self) -> None:
        self._systemctl("stop", self._unit, check=False)

    def forget(self) -> None:
        """Stop it, and leave behind the unit that was there before us, if there was one."""
        adopted = read_json(self._board.in_state("adopted.json"))
        before, mode = adopted.get("unit"), adopted.get("unit_mode", 0o644)
        self.stop()
        remove(self._note)
        if isinstance(before, str):
            atomic_write(self.unit_path, before.encode("utf-8", "surrogateescape"), mode)
            self._systemctl("daemon-reload")
            self._systemctl("restart", self._unit)
        else:
            self._systemctl("disable", self._unit, check=False)
            remove(self.unit_path)
            self._systemctl("daemon-reload")

    def death(self) -> str:
        # Asking costs a process, and systemd itself as much again.
        if time.monotonic() - self._asked < 8 * POLL_S or self._has(self._seen.get("MainPID")):
            return ""
        self._asked = time.monotonic()
        self._seen = self._show()
        if (
            self._seen.get("ActiveState") in ("failed", "inactive")
            or self._seen.get("SubState") == "auto-restart"
        ):
            return self._killed_by() or "systemd says %s (%s)" % (
                self._seen.get("ActiveState"),
                self._seen.get("SubState"),
            )
        return ""

    def _killed_by(self) -> str:
        """Which signal ended the service; empty where none did."""
        text = self._systemctl("show", "--property=Result,ExecMainStatus", self._unit, check=False)
        seen = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        if seen.get("Result") not in ("signal", "core-dump"):
            return ""
        import signal

        try:
            return "it was killed by %s" % signal.Signals(int(seen["ExecMainStatus"])).name
        except (KeyError, ValueError):
            return "it was killed by a signal"

    def is_ours(self, pid: Any) -> bool:
        return pid is not None and (self._has(pid) or pid == self.pid)

    def _has(self, pid: Any) -> bool:
        """Whether the kernel has this process in the unit's control group, of either version.

        False too where it cannot be seen; systemd may know better.
        """
        try:
            with open("/proc/%d/cgroup" % int(pid)) as stream:
                return any(line.rstrip("\n").endswith("/%s" % self._unit) for line in stream)
        except (OSError, TypeError, ValueError):
            return False

    def described(self) -> Dict[str, Any]:
        """How systemd sees the service, for people."""
        shown = self._show("NRestarts", "Result", "ActiveEnterTimestamp")
        restarts = shown.get("NRestarts", "")
        return {
            "manager": "systemd",
            "pid": int(shown.get("MainPID", "0")) or None,
            "state": "%s (%s)" % (shown.get("ActiveState", "unknown"), shown.get("SubState", "unknown")),
            "restarts": int(restarts) if restarts.isdigit() else None,
        }

    def log_tail(self, lines: int) -> List[str]:
        return self._journal(["--unit", self._unit], lines)

    def last_words(self, lines: int) -> List[str]:
        """What the process that was started last wrote; nothing of systemd, or of those before it."""
        start = self._systemctl("show", "--property=InvocationID", "--value", self._unit, check=False).strip()
        if not re.match(r"[0-9a-f]{32}\Z", start):
            return self.log_tail(lines)
        return self._journal(["_SYSTEMD_INVOCATION_ID=%s" % start], lines)

    @staticmethod
    def _journal(which: List[str], lines: int) -> List[str]:
        argv = ["journalctl", *which, "--lines", str(lines), "--no-pager", "--output", "cat"]
        try:
            told = run_program(argv, 20)
        except OSError as error:  # a timeout among them
            return ["(no journal: %s)" % error]
        return told.stdout.decode("utf-8", "replace").splitlines()

    def _show(self, *more: str) -> Dict[str, str]:
        wanted = ",".join(("ActiveState", "SubState", "MainPID", *more))
        text = self._systemctl("show", "--property=" + wanted, self._unit, check=False)
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def _systemctl(self, *words: str, check: bool = True) -> str:
        argv = ["systemctl", *words]
        try:
            done = run_program(argv, 90)
        except TimeoutError:
            raise BoardError("service-failed", "`%s` did not return" % " ".join(argv)) from None
        if check and done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip()
            raise BoardError("service-failed", "`%s` failed: %.500s" % (" ".join(argv), said))
        return done.stdout.decode("utf-8", "replace")


def run_program(argv: List[str], patience: float) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end; raises `TimeoutError` after `patience` seconds."""
    import subprocess  # slow to import: only where systemd keeps the service

    try:
        return subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=patience
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(str(error)) from None
