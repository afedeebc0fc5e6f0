"""A pip that fetches what a test says, from no index."""

import subprocess
from collections.abc import Sequence
from pathlib import Path


class Pip:
    """Notes how it was called, and leaves files."""

    def __init__(self, *names: str, status: int = 0, stderr: str = "") -> None:
        self.names, self.status, self.stderr = names, status, stderr
        self.calls: list[Sequence[str]] = []

    def __call__(self, argv: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        self.calls.append(argv)
        if "--dest" in argv:
            for name in self.names:
                (Path(argv[argv.index("--dest") + 1]) / name).write_text(name)
        return subprocess.CompletedProcess(argv, self.status, "", self.stderr)
