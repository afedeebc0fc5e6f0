"""A build without TensorFlow: stages that answer as they are told, and a small fleet to build."""

# ruff: noqa: ARG002 a toy need not look at everything that its Protocol hands it

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from fleetctl import lockfile
from fleetctl.artifact import Artifact, Contract, Tensor
from fleetctl.build.inputs import BUILDER, BUILDER_TOOL
from fleetctl.build.stages import Converted, Measured
from fleetctl.errors import BuildError
from fleetctl.manifest.schema import (
    Board,
    BoardKind,
    Fleet,
    FolderDataset,
    Gates,
    Model,
    RolloutPolicy,
    Smoke,
    Task,
    VariantName,
)
from fleetctl.models import evaluate, golden
from fleetctl.models.card.files import CARD
from fleetctl.models.card.mark import mark
from fleetctl.models.card.subject import Subject
from fleetctl.models.margins import GoldenSample, GoldenSet
from fleetctl.models.progress import Progress
from fleetctl.models.reader import Trained
from fleetctl.models.samples import Samples, Split
from fleetctl.project import Project
from fleetctl.store import BlobStore, atomic_write

SIGNS = ("G17", "M17", "N35")
EACH = 12  # evaluation samples of a sign: enough to have a say in max_class_drop
EVERYTHING = [  # that a first build of an int8 model asks of its stages
    "toolchain",
    "load",
    "train",
    "convert float32",
    "measure float32",
    "convert int8",
    "measure int8",
]


@dataclass
class ToyStages:
    """Stages that note what they were asked for. `wrong`: how many samples of a sign a variant misreads."""

    wrong: Mapping[VariantName, Mapping[str, int]] = field(default_factory=dict)
    failing: Collection[VariantName] = ()
    each: int = EACH
    builder: str = BUILDER
    asked: list[str] = field(default_factory=list)

    def toolchain(self, model: Model) -> Mapping[str, str]:
        self.asked.append("toolchain")
        return {"toy": "1", BUILDER_TOOL: self.builder}

    def load(self, model: Model, *, base: Path, cache: Path, progress: Progress) -> Split:
        self.asked.append("load")
        samples = [(sign, number) for sign in SIGNS for number in range(self.each)]
        images = [np.full((6, 4), 10 * number, np.uint8) for _, number in samples]
        evaluation = Samples(images, [s for s, _ in samples], [f"{s}-{n}" for s, n in samples])
        return Split(replace(evaluation, images=[image + 1 for image in images]), evaluation)

    def train(self, model: Model, split: Split, *, workdir: Path, progress: Progress) -> Trained:
        self.asked.append("train")
        progress("train", 1, 1)
        weights = workdir / "weights"
        atomic_write(weights, b"trained")
        return Trained(SIGNS, weights, {"shape": [6, 4, 1]})

    def convert(
        self, model: Model, trained: Trained, variant: VariantName, learnt: Samples, *, progress: Progress
    ) -> Converted:
        self.asked.append(f"convert {variant}")
        if variant in self.failing:
            raise BuildError(f"{variant} cannot be built")
        bytes_ = trained.weights.read_bytes() + variant.value.encode()
        return Converted(bytes_, bytes_, 0.75 if variant is VariantName.EDGETPU else None)

    def measure(self, tflite: bytes, trained: Trained, samples: Samples, *, progress: Progress) -> Measured:
        variant = VariantName(tflite.decode().removeprefix("trained"))
        self.asked.append(f"measure {variant}")
        scores = self._scores(samples, self.wrong.get(variant, {}))
        answered = [SIGNS[i] for i in scores.argmax(axis=1)]
        evaluation = evaluate.judge(samples.labels, answered, taught=SIGNS)
        return Measured(
            Tensor((1, 6, 4, 1), "uint8"), Tensor((1, 3), "uint8", 1 / 256), samples, scores, evaluation
        )

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

    def _scores(self, samples: Samples, wrong: Mapping[str, int]) -> NDArray[np.float32]:
        left = dict(wrong)
        scores = np.full((len(samples), len(SIGNS)), 0.05, np.float32)
        for row, label in enumerate(samples.labels):
            is_wrong = left.get(label, 0) > 0
            left[label] = left.get(label, 0) - 1
            scores[row, (SIGNS.index(label) + is_wrong) % len(SIGNS)] = 0.9
        return scores


def untried(
    model: Model, contract: Contract, samples: Samples, scored: Sequence[NDArray[np.float32]]
) -> GoldenSet:
    """Golden samples that nothing was tried on."""
    count = model.smoke.samples
    pool = golden.candidates(samples, contract.labels, scored, count=count, seed=0)
    chosen = tuple(GoldenSample(c.index, c.kind, SIGNS[0], 0.5, 0.0, 0.0) for c in pool[:count])
    return GoldenSet(chosen, golden.tolerance_floor(VariantName(contract.variant)), ())


def plain_card(subject: Subject) -> dict[str, bytes]:
    """A card that says no more than which build it is about."""
    return {CARD: f"# {subject.model.name}\n\n{mark(subject.model, subject.locked)}\n".encode()}


def toy_model(
    *, variants: tuple[VariantName, ...] = (VariantName.INT8,), gates: Gates | None = None, samples: int = 6
) -> Model:
    """A model that learns the photos which `toy_fleet` puts into `photos/`."""
    return Model(
        name="toy",
        task=Task.CLASSIFICATION,
        dataset=FolderDataset(Path("photos")),
        variants=variants,
        gates=gates or Gates(),
        smoke=Smoke(samples=samples),
    )


def toy_photos(inventory: Path) -> None:
    """What the toy model is built from, one photo a sign; the folder of the manifest is made with it."""
    photos = inventory / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    for number, sign in enumerate(SIGNS):
        (photos / f"{number:06d}_{sign}.png").write_bytes(f"photo {number}".encode())


def toy_fleet(root: Path, model: Model | None = None, *others: Model) -> tuple[Fleet, Project]:
    """A fleet of one board in `root`, its photos and its project."""
    model = model or toy_model()
    project = Project(root / "inventory" / "fleet.yaml")
    toy_photos(project.inventory)
    board = Board("luxor-01", BoardKind.RASPBERRYPI4, model.name, model.variants[-1], host="192.0.2.1")
    models = {each.name: each for each in (model, *others)}
    fleet = Fleet("unas", project.manifest, models, {}, {board.name: board}, RolloutPolicy(), "0" * 64)
    return fleet, project


def remodelled(fleet: Fleet, **changes: object) -> Fleet:
    """The fleet with its toy model changed."""
    return replace(fleet, models={"toy": replace(fleet.models["toy"], **changes)})  # type: ignore[arg-type]


def locked_toy(project: Project) -> lockfile.LockedModel:
    return lockfile.read(project.lockfile).models["toy"]


def artifact_of(project: Project, variant: str = "int8") -> Artifact:
    return locked_toy(project).variants[variant].artifact


def blob_path(project: Project, file: str) -> Path:
    return BlobStore(project.store).path(artifact_of(project).files[file].sha256)


def lose_local_state(project: Project) -> None:
    """What a fresh clone does not have: the build folder and the caches."""
    shutil.rmtree(project.state)
