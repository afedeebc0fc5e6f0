"""`models` of the manifest: what a model is trained on, how it is made, and what it has to reach."""

from pathlib import Path
from typing import Any

from fleetctl.manifest.compounds import Field, ListOf, MapOf, Record, Tagged
from fleetctl.manifest.kinds import Choice, Text
from fleetctl.manifest.numbers import BYTES, Integer, Number, Quantity
from fleetctl.manifest.schema import (
    Architecture,
    ArchitectureName,
    ArchiveDataset,
    EdgeTpu,
    EdgeTpuBuild,
    FolderDataset,
    Font,
    Gates,
    Head,
    Qat,
    Quantization,
    RenderedDataset,
    RepresentativeSource,
    Smoke,
    Task,
    Training,
    VariantName,
    WallsDataset,
    Weights,
)
from fleetctl.manifest.words import BOARD_KIND, DURATION, FRACTION, VISIBLE

LOCAL_PATH = Text("path", rf"{VISIBLE}{{1,1000}}")
INNER_PATH = Text("relative path without `..`", rf"(?:(?!/)(?!(?:.*/)?\.\.(?:/|$)){VISIBLE}{{1,1000}})?")
HTTPS_URL = Text(
    "address that begins with `https://`",
    r"https://[A-Za-z0-9.-]+(?::[0-9]+)?/[!-~]*",
    "plain http is not taken",
)
SHA256 = Text("sha256 in 64 lower-case hex digits", r"[0-9a-f]{64}")
SIGN = Text("Gardiner code such as `G17`", r"(?:Aa|N[LU]|[A-Z])[1-9][0-9]{0,2}[A-Za-z]?")
PLATE = Text("name of a plate in `boxes.csv`", r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
SEED = Integer(0, 2**32 - 1)
SIZE = Quantity("size", BYTES, "2MiB", most=2.0**34, whole=True)
SIDE = Integer(1, 1024)
FONTS = ListOf(Choice(Font, "font"), unique=True)


def _folder(path: str, evaluation: str | None = None, **values: Any) -> FolderDataset:
    # Still relative to the file that says it; the loader knows which that is.
    return FolderDataset(Path(path), Path(evaluation) if evaluation else None, **values)


def _walls(plates: str | None = None, crops: str | None = None, **values: Any) -> WallsDataset:
    return WallsDataset(Path(plates) if plates else None, Path(crops) if crops else None, **values)


RENDERED = Record(
    "rendered dataset",
    (
        Field("samples_per_sign", Integer(1, 100_000), "pictures drawn of each sign"),
        Field(
            "signs", ListOf(SIGN, unique=True), "which signs; absent: the list models are usually trained on"
        ),
        Field("fonts", FONTS, "whose outlines a sign's pictures have, in turn; absent: `noto`"),
        Field("seed", SEED, "the same seed draws the same pictures"),
    ),
    build=RenderedDataset,
    defaults=RenderedDataset,
)
FOLDER = Record(
    "folder dataset",
    (
        Field(
            "path", LOCAL_PATH, "folder of `*_CODE.png` or `CODE/*.png`, relative to this file", required=True
        ),
        Field("evaluation", LOCAL_PATH, "folder of photos kept out of training; absent: a fifth of `path`"),
        Field("rendered", Integer(0, 10_000), "pictures drawn of each sign, to learn from beside the photos"),
        Field("fonts", FONTS, "whose outlines a sign's drawn pictures have, in turn; absent: `noto`"),
        Field("seed", SEED, "decides which fifth, and what is drawn"),
    ),
    build=_folder,
    defaults=FolderDataset,
)
ARCHIVE = Record(
    "archive dataset",
    (
        Field("url", HTTPS_URL, "where the zip or tar is fetched", required=True),
        Field("sha256", SHA256, "of the archive; checked before it is opened", required=True),
        Field("subfolder", INNER_PATH, "where in the archive the pictures are"),
        Field("seed", SEED, "decides which fifth is kept out of training"),
    ),
    build=ArchiveDataset,
    defaults=ArchiveDataset,
)
WALLS = Record(
    "walls dataset",
    (
        Field("plates", LOCAL_PATH, "folder of photos of walls with `boxes.csv`, relative to this file"),
        Field("crops", LOCAL_PATH, "folder of sign photos to compose walls from; absent: drawn signs"),
        Field("fonts", FONTS, "whose outlines a drawn sign's pictures have, in turn; absent: `noto`"),
        Field("held_out", ListOf(PLATE, unique=True), "plates it is measured on and never learns from"),
        Field("walls", Integer(1, 100_000), "walls composed to learn from"),
        Field("seed", SEED, "decides what is composed"),
    ),
    build=_walls,
    defaults=WallsDataset,
)
ARCHITECTURE_RECORD = Record(
    "architecture",
    (
        Field("name", Choice(ArchitectureName, "architecture"), "the network"),
        Field("alpha", Number(0, 4, above=True), "width multiplier of the MobileNets"),
        Field("input", ListOf(SIDE, exactly=3), "height, width, channels"),
        Field("blocks", Integer(1, 16), "of the blocks of `efficientnet_lite0`, how many are kept"),
        Field("members", Integer(1, 4), "networks that learn apart and answer together, as one graph"),
        Field("weights", Choice(Weights, "start"), "what the network knows before training"),
        Field("head", Choice(Head, "head"), "the last layer"),
    ),
    build=Architecture,
    defaults=Architecture,
)
TRAINING = Record(
    "training",
    (
        Field("epochs", Integer(1, 100_000), "passes over the training pictures, at most"),
        Field("batch_size", Integer(1, 65_536), "pictures in one step"),
        Field("learning_rate", Number(0, 10, above=True), "of the optimiser, at the start"),
        Field("seed", SEED, "of weights, order and augmentation"),
        Field("small_epochs", Integer(0, 100_000), "of `epochs`, the first, that see smaller pictures"),
        Field("weight_decay", Number(0, 1), "times the rate, what a weight loses at each step"),
        Field("drawn_only", Number(0, 10), "added to the logits of signs that no photo shows"),
    ),
    build=Training,
    defaults=Training,
)
QAT = Record(
    "qat",
    (
        Field("epochs", Integer(1, 10_000), "passes over the training pictures"),
        Field("learning_rate", Number(0, 10, above=True), "of the optimiser"),
    ),
    build=Qat,
    defaults=Qat,
)
QUANTIZATION = Record(
    "quantization",
    (
        Field("representative", Integer(1, 100_000), "samples that show each layer's range"),
        Field("source", Choice(RepresentativeSource, "source"), "which training samples they are taken from"),
        Field("qat", QAT, "how `int8-qat` goes on learning"),
    ),
    build=Quantization,
    defaults=Quantization,
)
EDGE_TPU = Record(
    "edgetpu",
    (
        Field("compile", Choice(EdgeTpuBuild, "place"), "who runs `edgetpu_compiler`"),
        Field("timeout", DURATION, "after which the compiler is stopped"),
    ),
    build=EdgeTpu,
    defaults=EdgeTpu,
)
GATES = Record(
    "gates",
    (
        Field("min_accuracy", FRACTION, "least accuracy on kept-out photos; of a detector, least recall"),
        Field("max_drop", FRACTION, "most accuracy a variant may lose against float32"),
        Field("max_class_drop", FRACTION, "the same for any one class"),
        Field("min_tpu_ops", FRACTION, "least share of operations mapped to the Edge TPU"),
        Field("max_size", SIZE, "largest `model.tflite`; a bare number is bytes"),
    ),
    build=Gates,
    defaults=Gates,
)
SMOKE = Record(
    "smoke",
    (
        Field("samples", Integer(1, 1024), "golden samples that a board must answer"),
        Field("min_agreement", FRACTION, "least share of them answered as on the build host"),
        Field(
            "max_p95_ms",
            MapOf(BOARD_KIND, Number(0, 600_000, above=True)),
            "95th percentile of latency, in milliseconds, by board kind",
        ),
    ),
    build=Smoke,
    defaults=Smoke,
)
MODEL = Record(
    "model",
    (
        Field("task", Choice(Task, "task"), "what the model does", required=True),
        Field(
            "dataset",
            Tagged("kind", {"rendered": RENDERED, "folder": FOLDER, "archive": ARCHIVE, "walls": WALLS}),
            "what it is trained on, by `kind`: `rendered`, `folder`, `archive` or, for a detector, `walls`",
            required=True,
        ),
        Field("architecture", ARCHITECTURE_RECORD, "the network and its input"),
        Field("training", TRAINING, "how it is trained"),
        Field(
            "variants",
            ListOf(Choice(VariantName, "variant"), unique=True),
            "files to build; absent: `[int8]`",
        ),
        Field("quantization", QUANTIZATION, "how integer variants come about"),
        Field("edgetpu", EDGE_TPU, "how the variant `edgetpu` is compiled"),
        Field("gates", GATES, "what a built model must reach; a gate that is absent is not checked"),
        Field("smoke", SMOKE, "the proof that a board must give"),
    ),
)
