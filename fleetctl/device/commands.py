"""Running a program of the board's own to its end, or saying in one sentence why that went wrong."""

from __future__ import annotations

import os
from typing import List

from .board_error import BoardError


def run(argv: List[str], code: str, patience: float) -> None:
    """Run a program that has to succeed within `patience` seconds.

    Raises:
        BoardError: `code`, with the program's last words.
    """
    import subprocess  # slow to import: only where a program is run

    name = os.path.basename(argv[0])
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=patience
        )
    except subprocess.TimeoutExpired:
        raise BoardError(code, "`%s` did not end within %d s" % (name, patience)) from None
    except OSError as error:
        raise BoardError(code, "`%s` cannot be run: %s" % (name, error)) from None
    if done.returncode < 0:
        raise BoardError(
            code, "`%s` was ended by signal %d: is there memory enough?" % (name, -done.returncode)
        )
    if done.returncode:
        lines = [line for line in done.stdout.decode("utf-8", "replace").splitlines() if line.strip()]
        raise BoardError(code, "`%s`: %.300s" % (name, lines[-1].strip() if lines else "it said nothing"))
