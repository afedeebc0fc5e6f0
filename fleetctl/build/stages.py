"""The heavy steps of a build behind one seam: the real ones import TensorFlow, and only when they run."""

import contextlib
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from fleetctl.artifact import Contract, Tensor
from fleetctl.build.completion import COMPILER, compilation
from fleetctl.build.inputs import BUILDER, BUILDER_TOOL
from fleetctl.compatibility.requirements import Requirements
from fleetctl.errors import BuildError
from fleetctl.lockfile import Compilation, Pending
from fleetctl.manifest.schema import Head, Model, VariantName, Weights
from fleetctl.models import fonts, imagenet, network
from fleetctl.models.card.subject import Subject
from fleetctl.models.dataset_digest import fonts_of
from fleetctl.models.edgetpu import workplace
from fleetctl.models.evaluate import Evaluation
from fleetctl.models.gardiner import UNKNOWN
from fleetctl.models.margins import GoldenSet
from fleetctl.models.progress import Progress
from fleetctl.models.reader import Trained
from fleetctl.models.requirements import requirements
from fleetctl.models.samples import Samples, Split


class Converted(Struct, frozen=True):
    """A variant's bytes. `runnable` is what this machine can measure in its place: the int8 model that an
    Edge TPU model was compiled from, otherwise the same bytes. `tpu_ops` as in `fleetctl.lockfile.Metrics`;
    `requires` and `edgetpu` as in `fleetctl.lockfile.LockedVariant`: of a pending variant, `tflite` is the
    int8 model too, and what it will require nobody knows yet.
    """

    tflite: bytes
    runnable: bytes
    tpu_ops: float | None = None
    edgetpu: Compilation | Pending | None = None
    requires: Requirements | None = None


class Measured(Struct, frozen=True):
    """What a model answered on the labelled samples: float32 scores (samples, labels), and how good it is."""

    input: Tensor
    output: Tensor
    samples: Samples
    scores: NDArray[np.float32]
    evaluation: Evaluation


class Stages(Protocol):
    """What a build needs done. Each raises `BuildError` where it cannot."""

    def toolchain(self, model: Model) -> Mapping[str, str]:
        """Names and versions of the tools that a model takes; asked before anything costly starts.

        Raises:
            ToolchainMissing: one is not installed.
            BuildError: the model is of a kind that is not built here.
        """
        ...

    def load(self, model: Model, *, base: Path, cache: Path, progress: Progress) -> Split: ...

    def train(self, model: Model, split: Split, *, workdir: Path, progress: Progress) -> Trained: ...

    def convert(
        self, model: Model, trained: Trained, variant: VariantName, learnt: Samples, *, progress: Progress
    ) -> Converted:
        """Make the files of one variant. `learnt` are the samples that `trained` learnt from."""
        ...

    def measure(
        self, tflite: bytes, trained: Trained, samples: Samples, *, progress: Progress
    ) -> Measured: ...

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
        """Choose golden samples and try them; the arguments are those of `fleetctl.models.margins.choose`."""
        ...

    def card(self, subject: Subject) -> Mapping[str, bytes]:
        """The files of a model card, by name."""
        ...


class ModelStages:
    """The stages of `fleetctl.models`."""

    def toolchain(self, model: Model) -> Mapping[str, str]:
        return toolchain(model)

    def load(self, model: Model, *, base: Path, cache: Path, progress: Progress) -> Split:
        from fleetctl.models import datasets

        return datasets.load(model.dataset, base=base, cache=cache, progress=progress)

    def train(self, model: Model, split: Split, *, workdir: Path, progress: Progress) -> Trained:
        from fleetctl.models import reader

        return reader.train(model, split, workdir=workdir, progress=progress)

    def convert(
        self, model: Model, trained: Trained, variant: VariantName, learnt: Samples, *, progress: Progress
    ) -> Converted:
        from fleetctl.models import quantize

        if variant is not VariantName.EDGETPU:
            tflite = quantize.convert(model, trained, variant, learnt, progress=progress)
            return as_it_is(tflite)
        int8 = quantize.convert(model, trained, VariantName.INT8, learnt)
        return for_edge_tpu(model, int8)

    def measure(self, tflite: bytes, trained: Trained, samples: Samples, *, progress: Progress) -> Measured:
        from fleetctl.models import evaluate, runtime

        labelled = samples.pick(i for i, label in enumerate(samples.labels) if label != UNKNOWN)
        if not len(labelled):
            raise BuildError("there is no labelled sample to measure the model on")
        ends = runtime.tensors(tflite)
        scores = evaluate.scores(
            tflite, trained.labels, trained.preprocess, *ends, labelled.images, progress=progress
        )
        answered = [trained.labels[i] for i in scores.argmax(axis=1)]
        return Measured(
            *ends, labelled, scores, evaluate.judge(labelled.labels, answered, taught=trained.labels)
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
        from fleetctl.models import margins

        count, seed = model.smoke.samples, model.training.seed
        return margins.choose(contract, tflite, samples, scored, count=count, seed=seed, progress=progress)

    def card(self, subject: Subject) -> Mapping[str, bytes]:
        from fleetctl.models.card import writer

        return writer.write(subject)


def toolchain(model: Model) -> Mapping[str, str]:
    """Names and versions of the tools that building a model takes.

    Raises:
        ToolchainMissing: one is not installed.
        BuildError: a variant is not one that is built of such a model.
    """
    from fleetctl.models.tensorflow import tensorflow

    network.demand_buildable(model)
    architecture = model.architecture
    tools = {BUILDER_TOOL: BUILDER, **fonts.versions(fonts_of(model.dataset))}
    if architecture.weights is Weights.IMAGENET:
        tools["imagenet weights"] = imagenet.SHA256[:12]
    if architecture.head is Head.LOGISTIC_REGRESSION:
        tools |= _versions("scikit-learn")
    if VariantName.EDGETPU in model.variants:
        tools[COMPILER] = workplace.version(model.edgetpu)
    tools["tensorflow"] = str(tensorflow().__version__)
    if VariantName.INT8_QAT in model.variants:
        tools |= _versions("tensorflow-model-optimization")
    return {**tools, **_versions("numpy", "pillow", "tf-keras")}


def as_it_is(tflite: bytes) -> Converted:
    """A variant that this machine runs as boards do."""
    return Converted(tflite, tflite, requires=requirements(tflite))


def for_edge_tpu(model: Model, int8: bytes) -> Converted:
    """The Edge TPU variant of an int8 model, or what stands for it until CI has compiled it."""
    from fleetctl.models.edgetpu.prediction import predict

    compiled = workplace.compile_int8(model.edgetpu, int8)
    if compiled is None:
        return Converted(int8, int8, edgetpu=Pending(predict(int8).share))
    return Converted(
        compiled.tflite, int8, compiled.tpu_ops, compilation(compiled), requirements(compiled.tflite)
    )


def _versions(*packages: str) -> dict[str, str]:
    """The versions of those packages that are installed; whether one is needed, its user decides."""
    found = {}
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
