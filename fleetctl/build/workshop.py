"""One model, from its recipe to artifacts in the store, through the heavy stages."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from fleetctl.artifact import Contract
from fleetctl.build import drawn_from, trained_record
from fleetctl.build.acceptance import demand_judgeable
from fleetctl.build.cards import measurements_file
from fleetctl.build.inputs import demand_unchanged
from fleetctl.build.stages import Converted, Measured, ModelStages, Stages
from fleetctl.build.variants import in_order, kept, told_of
from fleetctl.checked_json import Node
from fleetctl.lockfile import LockedModel, LockedVariant, Metrics
from fleetctl.manifest.schema import Model, VariantName
from fleetctl.models import evaluate, golden
from fleetctl.models.card import record
from fleetctl.models.card.record import Measurements, VariantRecord
from fleetctl.models.drops import worst_class
from fleetctl.models.edgetpu.flatbuffer import naming
from fleetctl.models.evaluate import Evaluation
from fleetctl.models.gardiner import UNKNOWN
from fleetctl.models.golden import Travelling
from fleetctl.models.npy import npy
from fleetctl.models.progress import Progress
from fleetctl.models.reader import Trained
from fleetctl.models.samples import Samples, Split
from fleetctl.store import BlobStore, atomic_write


class _Tried(Struct, frozen=True):
    """What was measured of a variant, and its scores of the samples that golden ones are chosen from."""

    converted: Converted
    measured: Measured
    scores: NDArray[np.float32]


class _Made(Struct, frozen=True):
    """One variant: what was measured of it, and what is locked; nothing of a float32 that is not listed."""

    record: VariantRecord
    locked: LockedVariant | None


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
            BuildError: a stage could not do its part, or the data are no longer those that `inputs` names.
            GateRefused: a gate could not be judged by these data.
        """
        tools = self.stages.toolchain(model)
        split = self.stages.load(model, base=base, cache=cache, progress=self.progress)
        demand_unchanged(model, inputs, base=base, cache=cache)
        demand_judgeable(model, split.evaluation.counts)
        trained = self._trained(model, split)
        made = {variant.value: each for variant, each in self._variants(model, trained, split)}
        self._keep(model, inputs, trained, split, made)
        return LockedModel(inputs, tools, {name: each.locked for name, each in made.items() if each.locked})

    def _keep(
        self, model: Model, inputs: str, trained: Trained, split: Split, made: Mapping[str, _Made]
    ) -> None:
        """Note what was measured, so that a card needs no second measurement."""
        measured = Measurements(
            inputs,
            trained.labels,
            record.data_of(split.train, split.evaluation),
            tuple(label for label in split.evaluation.labels if label != UNKNOWN),
            {name: each.record for name, each in made.items()},
        )
        atomic_write(self.workdir / measurements_file(model.name), record.dumps(measured))

    def _trained(self, model: Model, split: Split) -> Trained:
        """The network, as an earlier build trained it from this recipe or trained now."""
        if (noted := trained_record.recall(self.workdir)) is not None:
            return _trained_from(*noted)
        self.workdir.mkdir(parents=True, exist_ok=True)
        drawn_from.note(self.workdir, model.dataset)
        trained = self.stages.train(model, split, workdir=self.workdir, progress=self.progress)
        facts = {"labels": list(trained.labels), "preprocess": dict(trained.preprocess)}
        trained_record.note(self.workdir, trained.weights, facts)
        return trained

    def _variants(self, model: Model, trained: Trained, split: Split) -> Iterator[tuple[VariantName, _Made]]:
        """Each variant that the model lists, and float32."""
        reference: _Tried | None = None
        travelling: Travelling | None = None
        for variant in in_order(model):
            self.progress(f"convert {variant}", 0, 0)
            converted = self.stages.convert(
                model, trained, variant, split.train, progress=told_of(variant, self.progress)
            )
            measured = self._measured(variant, converted, trained, split.evaluation)
            travelling = travelling or golden.travelling(
                measured.samples, trained.preprocess, count=model.smoke.samples
            )
            tried = self._tried(variant, converted, trained, measured, travelling)
            reference = reference or tried
            if variant in model.variants:
                yield variant, self._finished(model, variant, trained, tried, reference, travelling)
            else:
                yield variant, _Made(VariantRecord(len(converted.tflite), _answers(measured)), None)

    def _measured(
        self, variant: VariantName, converted: Converted, trained: Trained, samples: Samples
    ) -> Measured:
        with naming(variant):
            return self.stages.measure(
                converted.runnable, trained, samples, progress=told_of(variant, self.progress)
            )

    def _tried(
        self,
        variant: VariantName,
        converted: Converted,
        trained: Trained,
        measured: Measured,
        travelling: Travelling,
    ) -> _Tried:
        """The variant with its scores of what may become golden: of the very pixels that boards will get."""
        if travelling.altered:
            scores = self._measured(variant, converted, trained, travelling.samples).scores
        else:
            scores = measured.scores[travelling.rows]
        return _Tried(converted, measured, scores)

    def _finished(
        self,
        model: Model,
        variant: VariantName,
        trained: Trained,
        tried: _Tried,
        reference: _Tried,
        travelling: Travelling,
    ) -> _Made:
        converted, measured = tried.converted, tried.measured
        draft = Contract(
            model=model.name,
            variant=variant.value,
            task=model.task.value,
            labels=trained.labels,
            preprocess=trained.preprocess,
            input=measured.input,
            output=measured.output,
            golden=(),
            score_tolerance=golden.tolerance_floor(variant),
        )
        proof = self.stages.prove(
            model,
            draft,
            converted.runnable,
            travelling.samples,
            [reference.scores, tried.scores],
            progress=told_of(variant, self.progress),
        )
        chosen = [sample.index for sample in proof.samples]
        contract = replace(
            draft,
            golden=tuple(evaluate.answers(tried.scores[chosen], trained.labels)),
            score_tolerance=proof.tolerance,
        )
        photos = travelling.samples.pick(chosen)
        metrics = metrics_of(
            measured.evaluation, reference.measured.evaluation, len(converted.tflite), converted.tpu_ops
        )
        return _Made(
            VariantRecord(len(converted.tflite), _answers(measured), proof, tuple(photos.names)),
            kept(self.store, converted, contract, npy(np.stack(photos.images)), metrics),
        )


def _answers(measured: Measured) -> record.Answers:
    return record.answers_of(measured.scores)


def metrics_of(evaluation: Evaluation, reference: Evaluation, size: int, tpu_ops: float | None) -> Metrics:
    """What a variant measured, against float32 on the same samples."""
    return Metrics(
        samples=evaluation.n,
        top1=evaluation.top1,
        drop=reference.top1 - evaluation.top1,
        worst_class=worst_class(evaluation.per_class, reference.per_class),
        size=size,
        tpu_ops=tpu_ops,
    )


def _trained_from(root: Node, weights: Path) -> Trained:
    labels = tuple(label.text() for label in root.key("labels").elements())
    return Trained(labels, weights, root.key("preprocess").mapping())
