"""What shells are offered after Tab, as the completion scripts of bash, zsh and fish ask for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from quadrant_fleet import MANIFEST


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a manifest that was never built."""
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "fleet.yaml").write_text(MANIFEST)
    return tmp_path


def offered(folder: Path, *words: str) -> list[str]:
    """What bash is told after these words, the last of which is being typed."""
    done = subprocess.run(
        [sys.executable, "-m", "fleetctl"],
        cwd=folder,
        env={
            **os.environ,
            "_FLEETCTL_COMPLETE": "complete_bash",
            "COMP_WORDS": " ".join(["fleetctl", *words]),
            "COMP_CWORD": str(len(words)),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert "" == done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("sta",), ["status"]),
        (("status", "--wat"), ["--watch"]),
        (("doctor", "lux"), ["luxor-01", "luxor-02"]),
        (("explain", "karn"), ["karnak-01"]),
        (("build", "q"), ["quadrants"]),
        (("status", "--on", "luxor-01,!kar"), ["luxor-01,!karnak-01"]),
        (("status", "--on", "@"), ["@canary", "@karnak"]),
        (("drift", "--on", "site=l"), ["site=luxor"]),
        (("doctor", "luxor-01", "--remedy", "re"), ["restart-service", "reset-usb", "reboot"]),
    ],
)
def test_names_are_offered(folder: Path, words: tuple[str, ...], expected: list[str]) -> None:
    """Verbs, options, boards, groups, labels, models and choices."""
    assert expected == offered(folder, *words)


def test_a_broken_manifest_offers_nothing(folder: Path) -> None:
    """No complaint reaches a shell in the middle of a line."""
    (folder / "inventory" / "fleet.yaml").write_text("kind: [")

    assert [] == offered(folder, "status", "--on", "lux")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_for_every_shell(folder: Path, shell: str) -> None:
    """`--show-completion` prints a script that asks fleetctl."""
    done = subprocess.run(
        [sys.executable, "-m", "fleetctl", "--show-completion", shell],
        cwd=folder,
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "_FLEETCTL_COMPLETE" in done.stdout
