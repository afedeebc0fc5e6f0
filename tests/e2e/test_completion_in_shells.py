"""Tab in a real bash, zsh and fish: what is typed becomes names of verbs, boards, groups and models."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pexpect
import pytest
from quadrant_fleet import MANIFEST

pytestmark = [pytest.mark.e2e]

PATIENCE = 120
STARTS = {
    "bash": ["bash", "--noprofile", "--norc", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
SHOW = 'show() { echo EN"D: $*"; }'  # what is typed is not what is printed
SETS_UP = {
    "bash": [SHOW, "source ./script"],
    "zsh": ["autoload -Uz compinit && compinit -u -D", "bindkey -e", SHOW, "source ./script"],
    "fish": ['function show; echo EN"D: $argv"; end', "source ./script"],
}
TYPED = [
    ("fleetctl stat", "fleetctl status"),
    ("fleetctl doctor karn", "fleetctl doctor karnak-01"),
    ("fleetctl build qu", "fleetctl build quadrants"),
    ("fleetctl status --on luxor-01,kar", "fleetctl status --on luxor-01,karnak-01"),
    ("fleetctl status --on @can", "fleetctl status --on @canary"),
    ("fleetctl status --on site=lux", "fleetctl status --on site=luxor"),
    ("fleetctl status --on '@canary,!kar", "fleetctl status --on @canary,!karnak-01"),
]


@dataclass
class Shell:
    """An interactive shell on a terminal, wide enough that no line is broken."""

    child: Any

    def after_tab(self, typed: str) -> str:
        """What the line is once Tab was pressed: the shell itself is asked, by printing its words."""
        self.child.send(f"{typed}\t")
        self.child.send("\x01show \r")  # in front of the line, wherever Tab left it
        self.child.expect(r"END: ([^\r\n]*)\r", timeout=PATIENCE)
        return str(self.child.match[1]).strip()


@pytest.fixture(scope="module", params=list(STARTS))
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    name = request.param
    if shutil.which(name) is None:
        pytest.skip(f"no {name} on this machine: apt-get install {name}")
    folder = tmp_path_factory.mktemp(name)
    (folder / "inventory").mkdir()
    (folder / "inventory" / "fleet.yaml").write_text(MANIFEST)
    programs = Path(sys.executable).parent
    settings = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(folder),
        "TERM": "dumb" if name == "bash" else "xterm",
        "LC_ALL": "C.UTF-8",
    }
    script = subprocess.run(
        ["fleetctl", "--show-completion", name],
        env={**settings, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (folder / "script").write_text(script)
    program, *words = STARTS[name]
    child = pexpect.spawn(
        program, words, cwd=folder, env=settings, encoding="utf-8", dimensions=(50, 1000), timeout=PATIENCE
    )
    child.delaybeforesend = None
    for line in SETS_UP[name]:
        child.send(f"{line}\r")
    child.send("show ready\r")
    child.expect("END: ready", timeout=PATIENCE)
    yield Shell(child)
    child.close(force=True)


@pytest.mark.parametrize(("typed", "becomes"), TYPED, ids=[typed for typed, _ in TYPED])
def test_tab(shell: Shell, typed: str, becomes: str) -> None:
    """The word that is begun is finished, whatever the shell makes of `@`, `=`, `,` and `!` in it."""
    assert becomes == shell.after_tab(typed)
