"""A small fleet in a git repository of its own, with a bare repository as its origin."""

import functools
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from published import Said
from toy_build import ToyStages, toy_photos

from fleetctl.build.builder import build
from fleetctl.cli import main
from fleetctl.manifest.loader import load
from fleetctl.project import Project

MANIFEST = """\
apiVersion: fleetctl/v1
kind: Fleet
metadata: {name: unas}
models:
  toy:
    task: classification
    dataset: {kind: folder, path: photos}
    variants: [int8]
    gates: {min_accuracy: 0.5}
    smoke: {samples: 6}
groups:
  canary: {boards: [luxor-01]}
  karnak: {match: {site: karnak}, config: {threshold: 0.6}}
boards:
  luxor-01: {board: raspberrypi4, model: toy, host: 192.0.2.1, labels: {site: luxor}}
  luxor-02: {board: raspberrypi4, model: toy, host: 192.0.2.2, labels: {site: luxor}}
  karnak-01: {board: raspberrypi5, model: toy, host: 192.0.2.3, labels: {site: karnak}}
rollout:
  waves: [{group: canary}, {percent: 100}]
"""

_QUIET = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Ankh",
    "GIT_AUTHOR_EMAIL": "ankh@fleet.invalid",
    "GIT_COMMITTER_NAME": "Ankh",
    "GIT_COMMITTER_EMAIL": "ankh@fleet.invalid",
}


def say(capsys: pytest.CaptureFixture[str], *arguments: str) -> Said:
    """Run a command line in this process."""
    capsys.readouterr()
    status = main(arguments)
    captured = capsys.readouterr()
    return Said(status, captured.out, captured.err)


Fleetctl = Callable[..., Said]  # runs a command line
Plan = Callable[..., Said]  # runs `fleetctl plan`


def faults(**boards: str) -> str:
    """A faults file; `_` stands for `-` in a board's name."""
    Path("faults.yaml").write_text("".join(f"{n.replace('_', '-')}: {f}\n" for n, f in boards.items()))
    return "faults.yaml"


@functools.cache
def _built(folder: Path) -> Path:
    return GitFleet.make(folder / "built-git-fleet").root.parent


@dataclass(frozen=True)
class GitFleet:
    """A checkout. Everything it commits is pushed by `push` alone."""

    root: Path
    folder: str = "inventory"

    @classmethod
    def make(cls, folder: Path) -> "GitFleet":
        """A built fleet, committed and pushed; simulated boards answer for it."""
        made = cls(folder / "fleet")
        toy_photos(made.root / "inventory")
        made.manifest.write_text(MANIFEST)
        (made.root / ".gitignore").write_text("model_artifacts/store/\n.fleetctl/\n")
        made.build()
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", folder / "origin.git"], check=True)
        made.git("init", "-q", "-b", "main")
        made.git("remote", "add", "origin", str(folder / "origin.git"))
        made.commit("Begin")
        made.push()
        return made

    @classmethod
    def enter(
        cls, factory: pytest.TempPathFactory, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> "GitFleet":
        """A fleet of a test's own in `folder`, whose checkout it works in; built once for all tests."""
        shutil.copytree(_built(factory.getbasetemp()), folder, dirs_exist_ok=True)
        found = cls(folder / "fleet")
        found.git("remote", "set-url", "origin", str(folder / "origin.git"))
        monkeypatch.chdir(found.root)
        return found

    @property
    def manifest(self) -> Path:
        return self.root / self.folder / "fleet.yaml"

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def build(self, **wrong: object) -> None:
        """Bring lock and cards up to date, without TensorFlow."""
        build(load(self.manifest), Project(self.manifest), stages=ToyStages(**wrong))  # type: ignore[arg-type]

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", self.root, *arguments],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, **_QUIET},
        )
        return done.stdout.strip()

    def edit(self, old: str, new: str) -> None:
        """Change the manifest as a pull request would."""
        text = self.manifest.read_text()
        assert text.count(old) == 1, (old, text)
        self.manifest.write_text(text.replace(old, new))

    def commit(self, message: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.head

    def push(self) -> None:
        self.git("push", "-q", "origin", "HEAD:main")
        self.git("fetch", "-q", "origin")
