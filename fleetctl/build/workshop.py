"""One model, from its recipe to artifacts in the store, through the heavy stages."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fleetctl.artifact import CONTRACT_FILE, GOLDEN_FILE, MODEL_FILE, Artifact, BlobRef, Contract
from fleetctl.build.acceptance import MIN_CLASS_SAMPLES
from fleetctl.build.stages import Converted, Measured, ModelStages, Stages
from fleetctl.checked_json import Malformed, Node, parse
from fleetctl.lockfile import ClassDrop, LockedModel, LockedVariant, Metrics
from fleetctl.manifest.schema import Model, VariantName
from fleetctl.models import checkpoints, evaluate, golden
from fleetctl.models.evaluate import Evaluation
from fleetctl.models.progress import Progress
from fleetctl.models.reader import Trained
from fleetctl.models.samples import Samples, Split
from fleetctl.store import BlobStore, atomic_write, canonical_json, sha256, sha256_file

SCORE_TOLERANCE = {VariantName.FLOAT32: 0.05, VariantName.FLOAT16: 0.05}
QUANTIZED_SCORE_TOLERANCE = 0.15
"""How far a healthy board's score may lie from the build host's. One int8 model was measured up to 17/255
apart on arm64 and x86-64 (XNNPACK rounds differently): this is twice that and a little. Float kernels differ
in the last bits only."""

_TRAINED = "trained.json"


class Workshop:
    """Where models are made: a store for what is finished, and a folder for what is not.

    The folder is named after the recipe, so that whatever lies in it was made of it.
    """

    def __init__(
        self, store: BlobStore, workdir: Path, progress: Progress, stages: Stages | None = None
    ) -> None:
        self.store = store
        self.workdir = workdir
        self.progress = progress
        self.stages: Stages = stages or ModelStages()

    def make(self, model: Model, inputs: str, *, base: Path, cache: Path) -> LockedModel:
        """Train, convert and measure every variant of a model, and put its artifacts into the store.

        Raises:
            BuildError: a stage could not do its part.
        """
        tools = self.stages.toolchain(model)
        split = self.stages.load(model, base=base, cache=cache, progress=self.progress)
        trained = self._trained(model, split)
        variants = self._variants(model, trained, split)
        return LockedModel(inputs, tools, {variant.value: locked for variant, locked in variants})

    def _trained(self, model: Model, split: Split) -> Trained:
        trained = self._resumed()
        if trained is None:
            self.workdir.mkdir(parents=True, exist_ok=True)
            trained = self.stages.train(model, split, workdir=self.workdir, progress=self.progress)
            atomic_write(self.workdir / _TRAINED, canonical_json(self._record(trained)))
        for checkpoint in self.workdir.glob(f"*{checkpoints.SUFFIX}"):
            checkpoint.unlink()
        return trained

    def _record(self, trained: Trained) -> dict[str, object]:
        """What is noted of a trained network, with a digest over it: labels must not part from their head."""
        record: dict[str, object] = {
            "recipe": self.workdir.name,
            "labels": list(trained.labels),
            "preprocess": dict(trained.preprocess),
            "weights": {"file": trained.weights.name, "sha256": sha256_file(trained.weights)},
        }
        return {**record, "sha256": sha256(canonical_json(record))}

    def _resumed(self) -> Trained | None:
        """The network an earlier build trained from this recipe, if it is here and whole."""
        try:
            root = parse((self.workdir / _TRAINED).read_bytes())
            root.key("recipe").exactly(self.workdir.name)
            noted = {name: value for name, value in root.mapping().items() if name != "sha256"}
            root.key("sha256").exactly(sha256(canonical_json(noted)))
            weights = self.workdir / Path(root.key("weights").key("file").text()).name
            whole = sha256_file(weights) == root.key("weights").key("sha256").digest()
            return _trained_from(root, weights) if whole else None
        except (OSError, Malformed):
            return None

    def _variants(
        self, model: Model, trained: Trained, split: Split
    ) -> Iterator[tuple[VariantName, LockedVariant]]:
        """Each variant the model lists. Float32 comes first: drops are measured against it, listed or not."""
        order = [VariantName.FLOAT32, *(v for v in model.variants if v is not VariantName.FLOAT32)]
        reference: Measured | None = None
        for number, variant in enumerate(order, start=1):
            self.progress(f"convert {variant}", number, len(order))
            converted = self.stages.convert(trained, variant, split.train)
            measured = self._measured(variant, converted, trained, split.evaluation)
            reference = reference or measured
            if variant in model.variants:
                yield variant, self._finished(model, variant, trained, converted, measured, reference)

    def _measured(
        self, variant: VariantName, converted: Converted, trained: Trained, samples: Samples
    ) -> Measured:
        def told(stage: str, done: int, total: int) -> None:
            self.progress(f"{stage} {variant}", done, total)

        return self.stages.measure(converted.runnable, trained, samples, progress=told)

    def _finished(
        self,
        model: Model,
        variant: VariantName,
        trained: Trained,
        converted: Converted,
        measured: Measured,
        reference: Measured,
    ) -> LockedVariant:
        chosen = _golden(model, trained, measured, reference)
        contract = Contract(
            model=model.name,
            variant=variant.value,
            task=model.task.value,
            labels=trained.labels,
            preprocess=trained.preprocess,
            input=measured.input,
            output=measured.output,
            golden=tuple(evaluate.answers(measured.scores[chosen], trained.labels)),
            score_tolerance=SCORE_TOLERANCE.get(variant, QUANTIZED_SCORE_TOLERANCE),
        )
        files = {
            MODEL_FILE: converted.tflite,
            CONTRACT_FILE: contract.to_json(),
            GOLDEN_FILE: npy(np.stack([measured.samples.images[i] for i in chosen])),
        }
        refs = {name: BlobRef(self.store.put(data), len(data)) for name, data in files.items()}
        metrics = metrics_of(
            measured.evaluation, reference.evaluation, len(converted.tflite), converted.tpu_ops
        )
        return LockedVariant(Artifact(model.name, variant.value, refs), metrics)


def metrics_of(evaluation: Evaluation, reference: Evaluation, size: int, tpu_ops: float | None) -> Metrics:
    """What a variant measured, against float32 on the same samples."""
    return Metrics(
        samples=evaluation.n,
        top1=evaluation.top1,
        drop=reference.top1 - evaluation.top1,
        worst_class=worst_class(evaluation, reference),
        size=size,
        tpu_ops=tpu_ops,
    )


def worst_class(evaluation: Evaluation, reference: Evaluation) -> ClassDrop | None:
    """The sign whose recall fell most, of those with enough samples to tell; None where no sign has."""
    drops = (
        ClassDrop(sign, (reference.per_class[sign][1] - right) / n)
        for sign, (n, right) in evaluation.per_class.items()
        if n >= MIN_CLASS_SAMPLES
    )
    return max(drops, key=lambda drop: (drop.drop, drop.label), default=None)


def npy(images: NDArray[np.uint8]) -> bytes:
    """The bytes of a `.npy` file: a pure function of the array."""
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(images), allow_pickle=False)
    return stream.getvalue()


def _golden(model: Model, trained: Trained, measured: Measured, reference: Measured) -> list[int]:
    """Indices of the golden samples: float32 and the variant have to agree on them."""
    common = set(golden.of_one_size(measured.samples).names)
    rows = [i for i, name in enumerate(measured.samples.names) if name in common]
    picked = golden.choose(
        [measured.samples.labels[i] for i in rows],
        trained.labels,
        [reference.scores[rows], measured.scores[rows]],
        count=model.smoke.samples,
        seed=model.training.seed,
    )
    return [rows[i] for i in picked]


def _trained_from(root: Node, weights: Path) -> Trained:
    labels = tuple(label.text() for label in root.key("labels").elements())
    return Trained(labels, weights, root.key("preprocess").mapping())
