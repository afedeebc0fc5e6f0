"""What a person sees of a build that is stopped on a terminal."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

MANIFEST = """\
apiVersion: fleetctl/v1
kind: Fleet
metadata: {name: unas}
models:
  tiny:
    task: classification
    dataset: {kind: rendered, samples_per_sign: 400, signs: [N5, N35, O49]}
    architecture: {name: mobilenet_v2, alpha: 0.35, input: [32, 32, 1]}
boards:
  luxor-01: {board: raspberrypi4, model: tiny, host: 192.0.2.1}
rollout: {waves: [{percent: 100}]}
"""
COLOURS = re.compile(rb"\x1b\[[0-9;]*m")
ERASED = b"\x1b[2K"  # as rich leaves the line of a bar that is gone


def test_the_bar_is_gone_before_what_became_of_the_work_is_said(tmp_path: Path) -> None:
    """The message has its line to itself."""
    manifest = tmp_path / "inventory" / "fleet.yaml"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(MANIFEST)
    ours, its = pty.openpty()
    command = [sys.executable, "-m", "fleetctl", "build"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=its, stderr=its, env={**os.environ, "TERM": "xterm"}
    ) as process:
        os.close(its)
        said = _read(ours, until=re.compile(rb"tiny: draw .*[1-9]%"))  # it is under way
        process.terminate()
        said += _read(ours)
    os.close(ours)

    assert process.returncode == 143
    before, mark, after = COLOURS.sub(b"", said).partition(b"! interrupted: the lock is as it was")
    assert mark, said
    assert before.endswith(ERASED)
    assert b"draw" not in after


def _read(terminal: int, until: re.Pattern[bytes] | None = None) -> bytes:
    """All that is written on the terminal, up to `until` or the end."""
    said = b""
    while until is None or not until.search(COLOURS.sub(b"", said)):
        try:
            part = os.read(terminal, 4096)
        except OSError:  # how Linux says that nobody is left on it
            return said
        if not part:
            return said
        said += part
    return said
