"""What runs modules on virtual boards: plain processes, from images that are folders."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleetctl.lab import processes
from fleetctl.lab.iothub.agent import ImageMissing

_STOP_PATIENCE = 5.0  # seconds


class ProcessRunner:
    """Runs a module as a process of this user, in a board's own folder."""

    def __init__(self, home: Path, root: Path) -> None:
        """`home` is the board's folder; `root` is where its releases lie, within it."""
        self._home, self._root = home, root
        self._child: subprocess.Popen[bytes] | None = None

    def fetch(self, image: str) -> None:
        if not (_folder(image) / "image.json").is_file():
            raise ImageMissing(f"{image}: manifest unknown")

    def start(self, image: str, options: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        del options  # a process has no container to be made
        folder = _folder(image)
        program = folder / "runtime" / "edge_module.py"
        self._home.mkdir(parents=True, exist_ok=True)
        with (self._home / "module.log").open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, str(program), "--image", str(folder), "--root", str(self._root)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._home,
                env={**processes.environment(self._home, "module"), **environment},
                start_new_session=True,
            )

    def exit_code(self) -> int | None:
        return self._child.poll() if self._child is not None else None

    def stop(self) -> None:
        """End the module, and whatever it started: a container would not live on either."""
        child, self._child = self._child, None
        if child is not None and child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_STOP_PATIENCE)
        processes.kill_all([self._home])
        if child is not None:
            child.wait()


def _folder(image: str) -> Path:
    return Path(image.partition("@")[0])
