"""Models that no build could make, whatever the machine and the photos: seen before anything is trained."""

from collections.abc import Iterator
from typing import NamedTuple

from fleetctl.manifest.schema import (
    Architecture,
    ArchitectureName,
    ArchiveDataset,
    Dataset,
    FolderDataset,
    Head,
    Model,
    RenderedDataset,
    RepresentativeSource,
    Task,
    Training,
    VariantName,
    WallsDataset,
    Weights,
)

BUILDABLE = {
    Task.CLASSIFICATION: tuple(VariantName),
    # A detector's training makes its own batches, which quantization-aware training would have to share.
    Task.DETECTION: tuple(variant for variant in VariantName if variant is not VariantName.INT8_QAT),
}
MIN_CLASS_SAMPLES = 10  # of evaluation, by which one sign is judged: of fewer, one is over ten points
TILE_OVERLAP = 112  # pixels that neighbouring tiles share: a whole sign lies in one of them

_FEWEST_TO_JUDGE = 48  # samples of a sign: the fewest of which enough are kept out
_SMALLEST_TILE = 2 * TILE_OVERLAP  # pixels: neighbouring tiles share at most half a side
_MULTIPLE = 32  # pixels of a tile: cells are counted without remainders
_SMALLEST = 32  # pixels: the networks halve their input five times
_LEAST_ALPHA = 1 / 32  # of MobileNet v1, whose first layer has 32 channels and keeps this share, rounded down


class Obstacle(NamedTuple):
    """Why a model cannot be built, and what to write instead. `setting` is at fault; empty: the whole."""

    setting: str
    what: str
    hint: str


def obstacles(model: Model) -> Iterator[Obstacle]:
    """Everything that keeps a model from being built."""
    detects = model.task is Task.DETECTION
    if detects != isinstance(model.dataset, WallsDataset):
        hint = "write `kind: walls`" if detects else "write `task: detection`, or another kind of dataset"
        yield Obstacle("", f"the dataset is not one for {model.task}", hint)
    if detects != (model.architecture.name is ArchitectureName.SSD_MOBILENET_V1):
        names = [name for name in ArchitectureName if (name is ArchitectureName.SSD_MOBILENET_V1) == detects]
        what = f"{model.architecture.name} is no architecture for {model.task}"
        yield Obstacle("", what, f"write {' or '.join(names)}")
    elif detects:
        yield from _of_a_detector(model)
    else:
        yield from _of_a_reader(model)
    yield from _of_a_dataset(model.dataset)
    yield from _of_variants(model)
    yield from _of_gates(model)


def kept_out(samples: int, fraction: float = 0.2) -> int:
    """How many of a sign's samples are evaluated on, where no others are given: some, and not all."""
    return min(samples - 1, max(1, round(fraction * samples)))


def _of_a_dataset(dataset: Dataset) -> Iterator[Obstacle]:
    """What a dataset is known to lack before anything of it is drawn or read."""
    match dataset:
        case RenderedDataset():
            if len(dataset.signs) == 1:
                what = f"{dataset.signs[0]} alone is nothing to tell apart"
                yield Obstacle("dataset.signs", what, "name at least two signs, or leave `signs` out")
            if dataset.samples_per_sign < 2:
                yield Obstacle(
                    "dataset.samples_per_sign",
                    "one sample of each sign is learnt from, and none is left to evaluate on",
                    "draw at least two",
                )
        case WallsDataset(plates=None) if dataset.held_out:
            hint = "name their folder in `plates`, or leave `held_out` out"
            yield Obstacle("dataset.held_out", "there are no plates to hold any out of", hint)


def _of_variants(model: Model) -> Iterator[Obstacle]:
    buildable = BUILDABLE[model.task]
    unknown = [variant for variant in model.variants if variant not in buildable]
    if unknown:
        what = f"the variant {', '.join(unknown)} of a {model.task} model cannot be built"
        yield Obstacle("variants", what, f"use one of {', '.join(buildable)}")


def _of_gates(model: Model) -> Iterator[Obstacle]:
    """Gates that could not fail, or not be passed."""
    if model.gates.min_tpu_ops is not None and VariantName.EDGETPU not in model.variants:
        yield Obstacle(
            "gates.min_tpu_ops",
            "a gate for the variant edgetpu, which is not among the `variants`",
            "add edgetpu to `variants`, or leave the gate out",
        )
    if model.gates.max_class_drop is not None and isinstance(model.dataset, RenderedDataset):
        each = model.dataset.samples_per_sign
        if each > 1 and kept_out(each) < MIN_CLASS_SAMPLES:
            yield Obstacle(
                "gates.max_class_drop",
                f"of {each} samples a sign {kept_out(each)} are evaluated on, and no sign is judged by fewer "
                f"than {MIN_CLASS_SAMPLES}",
                f"draw {_FEWEST_TO_JUDGE} `samples_per_sign`, or leave the gate out",
            )


def _of_a_reader(model: Model) -> Iterator[Obstacle]:
    architecture, training = model.architecture, model.training
    name = architecture.name
    height, width, channels = architecture.input
    if min(height, width) < _SMALLEST or channels not in (1, 3):
        yield Obstacle(
            "architecture.input",
            f"{name} cannot take an input of {height}x{width}x{channels}",
            f"give it at least {_SMALLEST}x{_SMALLEST} pixels, and 1 or 3 channels",
        )
    if architecture.weights is Weights.IMAGENET and name is not ArchitectureName.EFFICIENTNET_LITE0:
        yield Obstacle(
            "architecture.weights",
            f"there are no ImageNet weights for {name}",
            "use efficientnet_lite0, or `weights: random`",
        )
    if architecture.head is Head.LOGISTIC_REGRESSION and architecture.weights is not Weights.IMAGENET:
        yield Obstacle(
            "architecture.head",
            "a logistic regression needs the features of a network that has learnt something",
            "use `weights: imagenet`, or `head: dense`",
        )
    if architecture.members > 1 and not _learns_at_any_size(architecture):
        yield Obstacle(
            "architecture.members",
            f"{name} with a {architecture.head} head has one member, not {architecture.members}",
            "use efficientnet_lite0 with `head: dense`, or leave `members` out",
        )
    if training.small_epochs and not _learns_at_any_size(architecture):
        yield Obstacle(
            "training.small_epochs",
            f"{name} with a {architecture.head} head cannot learn from smaller pictures first",
            "use efficientnet_lite0 with `head: dense`, or leave `small_epochs` out",
        )
    if training.small_epochs > training.epochs:
        yield Obstacle(
            "training.small_epochs",
            f"`small_epochs` ({training.small_epochs}) are of `epochs`, which are {training.epochs}",
            "lower `training.small_epochs`",
        )
    yield from _of_representatives(model)


def _learns_at_any_size(architecture: Architecture) -> bool:
    return architecture.name is ArchitectureName.EFFICIENTNET_LITE0 and architecture.head is Head.DENSE


def _of_representatives(model: Model) -> Iterator[Obstacle]:
    """A source of representative samples that the dataset has none of."""
    match model.dataset:
        case RenderedDataset():
            lacking = RepresentativeSource.PHOTOS
        case ArchiveDataset() | FolderDataset(rendered=0):
            lacking = RepresentativeSource.RENDERED
        case _:
            return
    if model.quantization.source is lacking:
        kind = "photos" if lacking is RepresentativeSource.PHOTOS else "drawn samples"
        yield Obstacle("quantization.source", f"the dataset has no {kind}", "write `source: all`")


def _of_a_detector(model: Model) -> Iterator[Obstacle]:
    architecture = model.architecture
    height, width, channels = architecture.input
    uneven = height % _MULTIPLE or width % _MULTIPLE
    if uneven or min(height, width) < _SMALLEST_TILE or channels not in (1, 3):
        yield Obstacle(
            "architecture.input",
            f"ssd_mobilenet_v1 cannot take an input of {height}x{width}x{channels}",
            f"give sides of at least {_SMALLEST_TILE} pixels, multiples of {_MULTIPLE}, and 1 or 3 channels",
        )
    if architecture.alpha < _LEAST_ALPHA:
        yield Obstacle(
            "architecture.alpha",
            f"ssd_mobilenet_v1 has no channel left at an alpha of {architecture.alpha:g}",
            f"raise it to at least {_LEAST_ALPHA:g}",
        )
    if architecture.members > 1:
        what = f"ssd_mobilenet_v1 has one member, not {architecture.members}"
        yield Obstacle("architecture.members", what, "leave `members` out")
    for setting in ("small_epochs", "weight_decay", "drawn_only"):
        if getattr(model.training, setting) != getattr(Training(), setting):
            hint = f"leave `training.{setting}` out"
            yield Obstacle(f"training.{setting}", f"`{setting}` is for readers", hint)
