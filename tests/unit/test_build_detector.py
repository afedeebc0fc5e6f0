"""A detector from recipe to artifacts, with stages that answer as they are told."""

# ruff: noqa: ARG002 a toy need not look at everything that its Protocol hands it

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from fleetctl.artifact import Contract, GoldenDetection, Tensor
from fleetctl.build.cards import measurements_file
from fleetctl.build.detector_workshop import DetectorWorkshop
from fleetctl.build.inputs import inputs_of
from fleetctl.build.stages import Converted
from fleetctl.errors import BuildError, GateRefused
from fleetctl.lockfile import LockedModel
from fleetctl.manifest.schema import (
    Architecture,
    ArchitectureName,
    Gates,
    Model,
    Smoke,
    Task,
    VariantName,
    WallsDataset,
)
from fleetctl.models.card import record
from fleetctl.models.detector.golden import GoldenScenes
from fleetctl.models.detector.measure import DetectionEvaluation, SignResult
from fleetctl.models.detector.scenes import Scene, Scenes
from fleetctl.models.detector.train import TrainedDetector
from fleetctl.models.progress import Progress, silent
from fleetctl.store import BlobStore

MODEL = Model(
    "finder",
    Task.DETECTION,
    WallsDataset(),
    architecture=Architecture(ArchitectureName.SSD_MOBILENET_V1, 0.25, (128, 128, 1)),
    variants=(VariantName.INT8,),
    smoke=Smoke(samples=2),
)
DETECTION = {
    "maps": [{"stride": 64, "anchors": [[32, 32]]}],
    "scales": [10, 10, 5, 5],
    "min_score": 0.5,
    "max_iou": 0.5,
    "most": 300,
    "overlap": 64,
}


def scene(name: str, *signs: str, complete: bool = True) -> Scene:
    boxes = np.array([[8 * i, 0, 8 * i + 8, 8] for i in range(len(signs))], np.float32).reshape(-1, 4)
    return Scene(name, np.zeros((128, 128), np.uint8), boxes, signs, complete)


SCENES = Scenes((scene("wall", "G17", "N35"), scene("plate", "G17", complete=False)), (scene("9", "G17"),))


@dataclass
class ToyDetectorStages:
    """Stages that note what they were asked for; `found` boxes of twenty by variant."""

    found: Mapping[VariantName, int]
    asked: list[str] = field(default_factory=list)

    def toolchain(self, model: Model) -> Mapping[str, str]:
        return {"toy": "1"}

    def load(self, model: Model, *, base: Path, cache: Path, progress: Progress) -> Scenes:
        return SCENES

    def train(self, model: Model, scenes: Scenes, *, workdir: Path, progress: Progress) -> TrainedDetector:
        self.asked.append("train")
        weights = workdir / "weights"
        weights.write_bytes(b"trained")
        return TrainedDetector(scenes.labels, weights, {"shape": [128, 128, 1]}, DETECTION)

    def convert(
        self, model: Model, trained: TrainedDetector, variant: VariantName, learnt: Sequence[Scene]
    ) -> Converted:
        self.asked.append(f"convert {variant}")
        return Converted(variant.value.encode(), variant.value.encode())

    def describe(self, tflite: bytes, trained: TrainedDetector, model: str, variant: str) -> Contract:
        return Contract(
            model=model,
            variant=variant,
            task="detection",
            labels=trained.labels,
            preprocess=trained.preprocess,
            input=Tensor((1, 128, 128, 1), "uint8", 1.0, 0),
            output=Tensor((1, 4, 2), "uint8", 1 / 256, 0),
            golden=(),
            score_tolerance=1.0,
            boxes=Tensor((1, 4, 4), "int8", 0.1, 0),
            detection=trained.detection,
        )

    def measure(
        self, tflite: bytes, contract: Contract, scenes: Sequence[Scene], *, progress: Progress
    ) -> DetectionEvaluation:
        found = self.found[VariantName(tflite.decode())]
        return DetectionEvaluation(20, found, 1, 2, found, 5, 0.25, {"G17": SignResult(20, found, 5, 0.25)})

    def golden(
        self,
        models: Sequence[tuple[bytes, Contract]],
        scenes: Sequence[Scene],
        *,
        count: int,
        tolerance: float,
        progress: Progress,
    ) -> GoldenScenes:
        answer = (GoldenDetection("G17", 0.9, (8.0, 8.0, 40.0, 40.0)),)
        return GoldenScenes(np.zeros((count, 64, 64), np.uint8), (answer,) * count, count)


@pytest.fixture
def stages() -> ToyDetectorStages:
    return ToyDetectorStages({VariantName.FLOAT32: 19, VariantName.INT8: 18})


def make(tmp_path: Path, stages: ToyDetectorStages) -> LockedModel:
    workshop = DetectorWorkshop(BlobStore(tmp_path / "store"), tmp_path / ("a" * 64), silent, stages)
    return workshop.make(MODEL, inputs(tmp_path), base=tmp_path, cache=tmp_path)


def inputs(tmp_path: Path) -> str:
    return inputs_of(MODEL, base=tmp_path, cache=tmp_path)[1]


def test_a_detector_is_locked_by_its_recall(tmp_path: Path, stages: ToyDetectorStages) -> None:
    """Samples are boxes, top-1 is the share found, the drop is against float32, which is not locked."""
    locked = make(tmp_path, stages)
    metrics = locked.variants["int8"].metrics

    assert ["int8"] == list(locked.variants)
    assert (20, 0.9, 0.05) == (metrics.samples, metrics.top1, metrics.drop)
    assert metrics.worst_class is not None
    assert ("G17", 0.05) == (metrics.worst_class.label, metrics.worst_class.drop)


def test_a_detectors_artifact_brings_its_golden_scenes(tmp_path: Path, stages: ToyDetectorStages) -> None:
    """The contract that boards get is whole: it reads back, with scenes and what is on them."""
    files = make(tmp_path, stages).variants["int8"].artifact.files
    store = BlobStore(tmp_path / "store")
    contract = Contract.from_json(store.get(files["contract.json"].sha256))

    assert ("detection", 2) == (contract.task, len(contract.golden))
    assert DETECTION == contract.detection
    assert b"int8" == store.get(files["model.tflite"].sha256)


def test_a_trained_detector_is_not_trained_again(tmp_path: Path, stages: ToyDetectorStages) -> None:
    """A build that was cut off after training goes on from the weights; altered weights are no weights."""
    first = make(tmp_path, stages)
    second = make(tmp_path, stages)
    assert (first.variants, 1) == (second.variants, stages.asked.count("train"))

    (tmp_path / ("a" * 64) / "weights").write_bytes(b"altered")
    make(tmp_path, stages)
    assert 2 == stages.asked.count("train")


def test_what_was_measured_is_kept_for_the_card(tmp_path: Path, stages: ToyDetectorStages) -> None:
    """Recall and boxes by sign are noted, of float32 too, so that a card needs no second measurement."""
    make(tmp_path, stages)
    data = (tmp_path / ("a" * 64) / measurements_file(MODEL.name)).read_bytes()
    measured = record.loads(data)

    shown = {name: variant.detection for name, variant in measured.variants.items()}
    assert {"float32": 0.95, "int8": 0.9} == {name: facts["recall"] for name, facts in shown.items() if facts}
    assert record.Counts(photos=1, drawn=1, evaluation=1) == measured.data.counts["G17"]
    assert json.loads(data)["inputs"] == inputs(tmp_path)


def test_other_data_than_the_digest_names_are_refused(tmp_path: Path, stages: ToyDetectorStages) -> None:
    """As where a plate is exchanged while walls are composed."""
    workshop = DetectorWorkshop(BlobStore(tmp_path / "store"), tmp_path / ("a" * 64), silent, stages)

    with pytest.raises(BuildError, match="model finder: the photos changed while they were read"):
        workshop.make(MODEL, "b" * 64, base=tmp_path, cache=tmp_path)

    assert [] == stages.asked


def test_a_gate_that_no_boxes_could_pass_is_told_before_training(
    tmp_path: Path, stages: ToyDetectorStages
) -> None:
    """The held-out plate has one box of a sign, and no sign is judged by so few."""
    model = replace(MODEL, gates=Gates(max_class_drop=0.1))
    workshop = DetectorWorkshop(BlobStore(tmp_path / "store"), tmp_path / ("a" * 64), silent, stages)

    with pytest.raises(GateRefused, match=r"finder: max_class_drop cannot be judged: .* but at most 1"):
        workshop.make(model, inputs(tmp_path), base=tmp_path, cache=tmp_path)

    assert [] == stages.asked
