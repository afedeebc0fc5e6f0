"""One detector, from its recipe to artifacts in the store: what `workshop` is to a reader.

A detector is measured on scenes, not on samples: its accuracy is recall, the share of boxed signs found.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct, to_builtins
from msgspec.structs import replace

from fleetctl.artifact import Contract
from fleetctl.build import drawn_from, trained_record
from fleetctl.build.acceptance import demand_judgeable
from fleetctl.build.cards import measurements_file
from fleetctl.build.inputs import demand_unchanged
from fleetctl.build.stages import Converted, as_it_is, for_edge_tpu, toolchain
from fleetctl.build.variants import in_order, kept, told_of
from fleetctl.lockfile import LockedModel, LockedVariant, Metrics
from fleetctl.manifest.schema import Model, VariantName
from fleetctl.models.card import record
from fleetctl.models.card.record import Counts, Data, Measurements, VariantRecord
from fleetctl.models.drops import worst_class
from fleetctl.models.gardiner import UNKNOWN
from fleetctl.models.golden import tolerance_floor
from fleetctl.models.npy import npy
from fleetctl.models.progress import Progress
from fleetctl.store import BlobStore, atomic_write, canonical_json, sha256

if TYPE_CHECKING:
    from fleetctl.models.detector.golden import GoldenScenes
    from fleetctl.models.detector.measure import DetectionEvaluation
    from fleetctl.models.detector.scenes import Scene, Scenes
    from fleetctl.models.detector.train import TrainedDetector


class _Built(Struct, frozen=True):
    """One variant with what was measured of it; `contract` still without golden scenes."""

    converted: Converted
    contract: Contract
    evaluation: "DetectionEvaluation"


class DetectorStages(Protocol):
    """What the build of a detector needs done. Each raises `BuildError` where it cannot."""

    def toolchain(self, model: Model) -> Mapping[str, str]: ...

    def load(self, model: Model, *, base: Path, cache: Path, progress: Progress) -> "Scenes": ...

    def train(
        self, model: Model, scenes: "Scenes", *, workdir: Path, progress: Progress
    ) -> "TrainedDetector": ...

    def convert(
        self, model: Model, trained: "TrainedDetector", variant: VariantName, learnt: "Sequence[Scene]"
    ) -> Converted: ...

    def describe(self, tflite: bytes, trained: "TrainedDetector", model: str, variant: str) -> Contract: ...

    def measure(
        self, tflite: bytes, contract: Contract, scenes: "Sequence[Scene]", *, progress: Progress
    ) -> "DetectionEvaluation": ...

    def golden(
        self,
        models: Sequence[tuple[bytes, Contract]],
        scenes: "Sequence[Scene]",
        *,
        count: int,
        tolerance: float,
        progress: Progress,
    ) -> "GoldenScenes": ...


class DetectorWorkshop:
    """Where detectors are made: a store for what is finished, and a folder for what is not."""

    def __init__(
        self, store: BlobStore, workdir: Path, progress: Progress, stages: DetectorStages | None = None
    ) -> None:
        self.store = store
        self.workdir = workdir
        self.progress = progress
        self.stages: DetectorStages = stages or ModelDetectorStages()

    def make(self, model: Model, inputs: str, *, base: Path, cache: Path) -> LockedModel:
        """Train, convert and measure every variant of a detector, and put its artifacts into the store.

        Raises:
            BuildError: a stage could not do its part, or the data are no longer those that `inputs` names.
            GateRefused: a gate could not be judged by these data.
        """
        tools = self.stages.toolchain(model)
        scenes = self.stages.load(model, base=base, cache=cache, progress=self.progress)
        demand_unchanged(model, inputs, base=base, cache=cache)
        demand_judgeable(model, _boxes(scenes.evaluation))
        trained = self._trained(model, scenes)
        built = dict(self._variants(model, trained, scenes))
        locked, records = {}, {}
        for variant, each in built.items():
            golden = self._golden(model, variant, built, scenes) if variant in model.variants else None
            records[variant.value] = self._record(each, golden)
            if golden is not None:
                locked[variant.value] = self._locked(variant, each, golden, built[VariantName.FLOAT32])
        measured = Measurements(inputs, trained.labels, data_of(scenes), (), records)
        atomic_write(self.workdir / measurements_file(model.name), record.dumps(measured))
        return LockedModel(inputs, tools, locked)

    def _trained(self, model: Model, scenes: "Scenes") -> "TrainedDetector":
        from fleetctl.models.detector.train import TrainedDetector

        noted = trained_record.recall(self.workdir)
        if noted is not None:
            root, weights = noted
            labels = tuple(label.text() for label in root.key("labels").elements())
            spec, detection = root.key("preprocess").mapping(), root.key("detection").mapping()
            return TrainedDetector(labels, weights, spec, detection)
        self.workdir.mkdir(parents=True, exist_ok=True)
        drawn_from.note(self.workdir, model.dataset)
        trained = self.stages.train(model, scenes, workdir=self.workdir, progress=self.progress)
        facts = {
            "labels": list(trained.labels),
            "preprocess": dict(trained.preprocess),
            "detection": dict(trained.detection),
        }
        trained_record.note(self.workdir, trained.weights, facts)
        return trained

    def _variants(
        self, model: Model, trained: "TrainedDetector", scenes: "Scenes"
    ) -> Iterator[tuple[VariantName, _Built]]:
        """Each variant that the model lists, and float32."""
        for variant in in_order(model):
            self.progress(f"convert {variant}", 0, 0)
            converted = self.stages.convert(model, trained, variant, scenes.train)
            contract = self.stages.describe(converted.runnable, trained, model.name, variant.value)
            evaluation = self.stages.measure(
                converted.runnable, contract, scenes.evaluation, progress=told_of(variant, self.progress)
            )
            yield variant, _Built(converted, contract, evaluation)

    def _golden(
        self, model: Model, variant: VariantName, built: Mapping[VariantName, _Built], scenes: "Scenes"
    ) -> "GoldenScenes":
        asked = [built[variant], built[VariantName.FLOAT32]]
        return self.stages.golden(
            [(each.converted.runnable, each.contract) for each in asked],
            scenes.evaluation,
            count=model.smoke.samples,
            tolerance=tolerance_floor(variant),
            progress=told_of(variant, self.progress),
        )

    def _locked(
        self, variant: VariantName, each: _Built, golden: "GoldenScenes", reference: _Built
    ) -> LockedVariant:
        tolerance = tolerance_floor(variant)
        contract = replace(each.contract, golden=golden.answers, score_tolerance=tolerance)
        metrics = metrics_of(each, reference)
        return kept(self.store, each.converted, contract, npy(golden.samples), metrics)

    def _record(self, each: _Built, golden: "GoldenScenes | None") -> VariantRecord:
        facts = evaluation_json(each.evaluation)
        if golden is not None:
            facts["golden"] = {"scenes": len(golden.answers), "shared": golden.shared}
        return VariantRecord(len(each.converted.tflite), detection=facts)


class ModelDetectorStages:
    """The stages of `fleetctl.models.detector`."""

    def toolchain(self, model: Model) -> Mapping[str, str]:
        return toolchain(model)

    def load(self, model: Model, *, base: Path, cache: Path, progress: Progress) -> "Scenes":
        from fleetctl.manifest.schema import WallsDataset
        from fleetctl.models.detector import walls

        assert isinstance(model.dataset, WallsDataset)  # `toolchain` saw to it
        return walls.load(model.dataset, base=base, cache=cache, progress=progress)

    def train(
        self, model: Model, scenes: "Scenes", *, workdir: Path, progress: Progress
    ) -> "TrainedDetector":
        from fleetctl.models.detector import train

        return train.train(model, scenes, workdir=workdir, progress=progress)

    def convert(
        self, model: Model, trained: "TrainedDetector", variant: VariantName, learnt: "Sequence[Scene]"
    ) -> Converted:
        from fleetctl.models.detector import convert

        count = model.quantization.representative
        if variant is VariantName.EDGETPU:
            return for_edge_tpu(model, convert.convert(trained, VariantName.INT8, learnt, count=count))
        tflite = convert.convert(trained, variant, learnt, count=count)
        return as_it_is(tflite)

    def describe(self, tflite: bytes, trained: "TrainedDetector", model: str, variant: str) -> Contract:
        from fleetctl.models.detector.inference import contract

        return contract(tflite, trained, name=model, variant=variant)

    def measure(
        self, tflite: bytes, contract: Contract, scenes: "Sequence[Scene]", *, progress: Progress
    ) -> "DetectionEvaluation":
        from fleetctl.models.detector.inference import Detector
        from fleetctl.models.detector.measure import measure

        return measure(Detector(tflite, contract), scenes, progress=progress)

    def golden(
        self,
        models: Sequence[tuple[bytes, Contract]],
        scenes: "Sequence[Scene]",
        *,
        count: int,
        tolerance: float,
        progress: Progress,
    ) -> "GoldenScenes":
        from fleetctl.models.detector.golden import choose
        from fleetctl.models.detector.inference import Detector

        detectors = [Detector(tflite, contract) for tflite, contract in models]
        return choose(scenes, detectors, count=count, tolerance=tolerance, progress=progress)


def metrics_of(each: _Built, reference: _Built) -> Metrics:
    """What the lock keeps: samples are boxes, top-1 is recall."""
    evaluation, before = each.evaluation, reference.evaluation
    return Metrics(
        samples=evaluation.n,
        top1=evaluation.recall,
        drop=before.recall - evaluation.recall,
        worst_class=worst_class(_found(evaluation), _found(before)),
        size=len(each.converted.tflite),
        tpu_ops=each.converted.tpu_ops,
    )


def _found(evaluation: "DetectionEvaluation") -> dict[str, tuple[int, int]]:
    return {sign: (result.n, result.found) for sign, result in evaluation.per_class.items()}


def evaluation_json(evaluation: "DetectionEvaluation") -> dict[str, Any]:
    """An evaluation as plain JSON values, shares included."""
    return {
        **{key: value for key, value in to_builtins(evaluation).items() if key != "per_class"},
        "recall": evaluation.recall,
        "precision": evaluation.precision,
        "reading": evaluation.reading,
        "per_class": {sign: to_builtins(result) for sign, result in evaluation.per_class.items()},
    }


def data_of(scenes: "Scenes") -> Data:
    """Describe a split: of each sign, the boxes on photographed and on composed walls, and those kept out."""
    photographed = _boxes(scene for scene in scenes.train if not scene.complete)
    composed = _boxes(scene for scene in scenes.train if scene.complete)
    kept_out = _boxes(scenes.evaluation)
    counts = {
        sign: Counts(photographed.get(sign, 0), composed.get(sign, 0), kept_out.get(sign, 0))
        for sign in sorted({*photographed, *composed, *kept_out})
    }
    return Data(_digest(scenes.train), _digest(scenes.evaluation), counts)


def _boxes(scenes: "Iterator[Scene] | Sequence[Scene]") -> dict[str, int]:
    found: dict[str, int] = {}
    for scene in scenes:
        for sign in scene.signs:
            if sign != UNKNOWN:
                found[sign] = found.get(sign, 0) + 1
    return found


def _digest(scenes: "Sequence[Scene]") -> str:
    parts = [
        [
            scene.name,
            *map(str, scene.image.shape),
            sha256(scene.image.tobytes()),
            sha256(scene.boxes.tobytes()),
            *scene.signs,
        ]
        for scene in scenes
    ]
    return sha256(canonical_json(parts))
