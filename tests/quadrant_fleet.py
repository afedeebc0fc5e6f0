"""A fleet in git whose model is real, tiny and never trained: it says which quadrant is the brightest."""

# ruff: noqa: ARG002 the stages need not look at everything that their Protocol hands them

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from published import Said
from tiny_board import LABELS, MODELS, picture
from toy_build import plain_card, untried

from fleetctl import lockfile
from fleetctl.artifact import Artifact, BlobRef, Contract
from fleetctl.build.builder import build
from fleetctl.build.stages import Converted, ModelStages
from fleetctl.manifest.loader import load
from fleetctl.manifest.schema import Model, VariantName
from fleetctl.models.card.files import CARD
from fleetctl.models.card.mark import mark
from fleetctl.models.card.subject import Subject
from fleetctl.models.margins import GoldenSet
from fleetctl.models.progress import Progress
from fleetctl.models.reader import Trained
from fleetctl.models.samples import Samples, Split
from fleetctl.project import Project
from fleetctl.store import BlobStore, canonical_json

MANIFEST = """\
apiVersion: fleetctl/v1
kind: Fleet
metadata: {name: quadrants}
models:
  quadrants:
    task: classification
    dataset: {kind: folder, path: photos}
    variants: [int8]
    smoke: {samples: 4, max_p95_ms: {raspberrypi4: 2000}}
defaults: {model: quadrants, board: raspberrypi4}
groups:
  canary: {boards: [luxor-01]}
  karnak: {match: {site: karnak}, config: {threshold: 0.6}}
boards:
  luxor-01: {host: 192.0.2.1, labels: {site: luxor}}
  luxor-02: {host: 192.0.2.2, labels: {site: luxor}}
  karnak-01: {host: 192.0.2.3, labels: {site: karnak}}
rollout:
  waves: [{group: canary}, {percent: 100}]
  confirm_timeout: 30s
"""


class QuadrantStages(ModelStages):
    """The real stages, but for those that would need TensorFlow or take seconds."""

    def toolchain(self, model: Model) -> Mapping[str, str]:
        return {"quadrants": "1"}

    def load(self, model: Model, *, base: Path, cache: Path, progress: Progress) -> Split:
        images = [picture(quadrant, bright) for quadrant in range(4) for bright in (150, 200, 250)]
        labels = [label for label in LABELS for _ in range(3)]
        samples = Samples(images, labels, [f"{n}" for n in range(len(labels))])
        return Split(samples, samples)

    def train(self, model: Model, split: Split, *, workdir: Path, progress: Progress) -> Trained:
        weights = workdir / "weights"
        weights.write_bytes(b"nothing to learn")
        return Trained(LABELS, weights, {"shape": [16, 16, 1], "fit": "contain", "smooth": 0})

    def convert(
        self,
        model: Model,
        trained: Trained,
        variant: VariantName,
        learnt: Samples,
        *,
        progress: Progress,
    ) -> Converted:
        tflite = (MODELS / "quadrants.tflite").read_bytes()
        return Converted(tflite, tflite)

    def prove(
        self,
        model: Model,
        contract: Contract,
        tflite: bytes,
        samples: Samples,
        scored: Sequence[NDArray[np.float32]],
        *,
        progress: Progress,
    ) -> GoldenSet:
        return untried(model, contract, samples, scored)

    def card(self, subject: Subject) -> Mapping[str, bytes]:
        return plain_card(subject)


@dataclass(frozen=True)
class QuadrantFleet:
    """The repository of a fleet, with `fleetctl` run in it as a person would: a process a command line."""

    root: Path

    @classmethod
    def make(cls, root: Path) -> "QuadrantFleet":
        manifest = root / "inventory" / "fleet.yaml"
        (manifest.parent / "photos").mkdir(parents=True)
        (manifest.parent / "photos" / "000000_A1.png").write_bytes(b"not looked at")
        manifest.write_text(MANIFEST)
        build(load(manifest), Project(manifest), stages=QuadrantStages())
        (root / ".gitignore").write_text(".fleetctl/\nmodel_artifacts/store/\n")
        fleet = cls(root)
        fleet.git("init", "--quiet", "--initial-branch=main")
        fleet.commit("Start")
        return fleet

    @classmethod
    def rolled_out(cls, root: Path, faults: str = "") -> "QuadrantFleet":
        """One whose simulated boards run what git says; `faults` are for `--faults faults.yaml` later on."""
        fleet = cls.make(root)
        if faults:
            (root / "faults.yaml").write_text(faults)
        assert 0 == fleet.run("rollout", "--yes", transport="fake").status
        return fleet

    def git(self, *arguments: str) -> None:
        settings = [
            "-c",
            "user.name=test",
            "-c",
            "user.email=test@fleet.invalid",
            "-c",
            "commit.gpgsign=false",
        ]
        subprocess.run(["git", *settings, *arguments], cwd=self.root, check=True, capture_output=True)

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def edit(self, old: str, new: str) -> None:
        """Change the manifest in one place, and commit."""
        manifest = self.root / "inventory" / "fleet.yaml"
        text = manifest.read_text()
        assert text.count(old) == 1
        manifest.write_text(text.replace(old, new))
        self.commit(f"{old} -> {new}")

    def mix_up_labels(self) -> None:
        """Lock a model whose labels are in the wrong order, as a broken pipeline would."""
        files = self.artifact_files()
        contract = json.loads(files["contract.json"])
        contract["labels"] = contract["labels"][1:] + contract["labels"][:1]
        self.lock_files({**files, "contract.json": canonical_json(contract)}, "Faster quadrants")

    def artifact_files(self) -> dict[str, bytes]:
        """The files of the model that is locked, by name."""
        store = BlobStore(self._project.store)
        return {name: store.get(ref["sha256"]) for name, ref in self._variant(self._lock())["files"].items()}

    def lock_files(self, files: Mapping[str, bytes], message: str) -> None:
        """Lock other files in their place, whatever they are, with their card as a build does, and commit."""
        store, document = BlobStore(self._project.store), self._lock()
        refs = {name: BlobRef(store.put(data), len(data)) for name, data in files.items()}
        variant = self._variant(document)
        variant["files"] = {name: {"sha256": ref.sha256, "size": ref.size} for name, ref in refs.items()}
        variant["artifact"] = Artifact("quadrants", "int8", refs).digest
        self._project.lockfile.write_text(json.dumps(document))
        self._write_card()
        self.commit(message)

    def _write_card(self) -> None:
        model = load(self._project.manifest).models["quadrants"]
        locked = lockfile.read(self._project.lockfile).models["quadrants"]
        (self._project.artifacts / "quadrants" / CARD).write_text(f"# quadrants\n\n{mark(model, locked)}\n")

    @property
    def _project(self) -> Project:
        return Project(self.root / "inventory" / "fleet.yaml")

    def _lock(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self._project.lockfile.read_text())
        return document

    @staticmethod
    def _variant(document: Mapping[str, Any]) -> dict[str, Any]:
        variant: dict[str, Any] = document["models"]["quadrants"]["variants"]["int8"]
        return variant

    def start(self, *arguments: str, transport: str = "lab") -> "subprocess.Popen[str]":
        environment = {**os.environ, "FLEETCTL_TRANSPORT": transport, "NO_COLOR": "1"}
        return subprocess.Popen(
            [sys.executable, "-m", "fleetctl", *arguments],
            cwd=self.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, transport: str = "lab", patience: float = 120) -> Said:
        process = self.start(*arguments, transport=transport)
        out, err = process.communicate(timeout=patience)
        return Said(process.returncode, out, err)

    def must(self, *arguments: str) -> Said:
        """Run what has to work: where it does not, the failure shows all that it said."""
        done = self.run(*arguments)
        assert done.status == 0, f"fleetctl {' '.join(arguments)}: {done.status}\n{done.out}\n{done.err}"
        return done

    def interrupt(self, after: float, with_signal: signal.Signals, *arguments: str) -> int:
        """Run a command line and send it a signal after so many seconds; returns its exit status."""
        process = self.start(*arguments)
        time.sleep(after)
        process.send_signal(with_signal)
        process.communicate(timeout=60)
        return process.returncode

    def boards(self, *selection: str) -> dict[str, dict[str, Any]]:
        """What `status` says of each board."""
        said = self.run("status", "-o", "json", *(("--on", *selection) if selection else ()))
        return {board["board"]: board for board in said.json["boards"]}

    def settle(self, names: Collection[str], seconds: float) -> dict[str, dict[str, Any]]:
        """Status once no release is on probation any more."""
        until = time.monotonic() + seconds
        while True:
            boards = self.boards()
            if not any("probation" in trouble for name in names for trouble in boards[name]["troubles"]):
                return boards
            assert time.monotonic() < until, boards
            time.sleep(0.5)


@contextmanager
def quadrants_on_the_lab(root: Path) -> Iterator[QuadrantFleet]:
    """A fleet in `root` whose three boards are virtual ones, before their first release."""
    made = QuadrantFleet.make(root)
    try:
        made.must("lab", "up")
        yield made
    finally:
        made.run("lab", "down")
