"""The tutorial of docs/gitops.md, command by command, in an empty folder."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from long_matrices import FULL
from workflow_runner import ROOT, programs

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("workflows")]

TUTORIAL = (ROOT / "docs" / "gitops.md").read_text("utf-8").split("## The workflows")[0]


def commands() -> Iterator[tuple[str, int]]:
    """Every command with the exit status that the page says it has; of a here-document, all lines."""
    for block in re.findall(r"```console\n(.*?)```", TUTORIAL, re.DOTALL):
        for said in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = said.partition("\n")
            if "<<'EOF'" in command:
                body, _, output = output.partition("\nEOF\n")
                command = f"{command}\n{body}\nEOF"
            status = re.search(r"^\(exit (\d+)\)$", output, re.MULTILINE)
            yield command, int(status.group(1)) if status else 0


def script() -> str:
    lines = ["set -u"]
    for command, status in commands():
        lines += [
            command,
            f'code=$?; [ $code = {status} ] || {{ echo "exit $code, not {status}"; exit 99; }}',
        ]
    assert lines[1:], "the page shows no command"
    return "\n".join(lines)


def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    """Each command ends as the page says. Training is played, but for FLEETCTL_TEST_FULL."""
    environment = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_AUTHOR_NAME": "Ankh",
        "GIT_AUTHOR_EMAIL": "ankh@fleet.invalid",
        "GIT_COMMITTER_NAME": "Ankh",
        "GIT_COMMITTER_EMAIL": "ankh@fleet.invalid",
        "PATH": os.pathsep.join([str(_fleetctl(tmp_path)), os.environ["PATH"]]),
    }
    done = subprocess.run(
        ["bash", "-c", script()], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        down = [sys.executable, "-m", "fleetctl", "lab", "down"]
        subprocess.run(down, cwd=tmp_path / "temples", env=environment, check=False)

    assert 0 == done.returncode, done.stdout[-3000:] + done.stderr[-3000:]
    assert "3 boards, 1 model, 2 waves: valid" in done.stdout
    assert "2 100 %  karnak-01  update" in done.stdout
    assert 20 < len(list(commands()))


def _fleetctl(folder: Path) -> Path:
    if not FULL:
        return programs(folder / "bin")
    found = shutil.which("fleetctl", path=str(Path(sys.executable).parent))
    assert found
    return Path(found).parent
