"""The manifest as people write it: every key with its kind, its meaning and whether it must be there.

This is the one description. The decoder, `inventory/schema.json` and the tables of docs/manifest.md are read
off it; the values it builds are those of `fleetctl.manifest.schema`, except that boards and groups stay plain
dicts of settings until they are merged.
"""

from pathlib import Path
from typing import Any

from fleetctl.manifest.compounds import Field, ListOf, MapOf, Named, Record, Tagged
from fleetctl.manifest.drift_rules import DRIFT
from fleetctl.manifest.iothub_rules import IOTHUB
from fleetctl.manifest.kinds import (
    BYTES,
    SECONDS,
    Anything,
    Boolean,
    Choice,
    Constant,
    Integer,
    Number,
    Quantity,
    Text,
)
from fleetctl.manifest.schema import (
    API_VERSION,
    Accelerator,
    Architecture,
    ArchitectureName,
    ArchiveDataset,
    Attached,
    Board,
    BoardKind,
    Danger,
    EdgeTpu,
    EdgeTpuBuild,
    FolderDataset,
    Font,
    Gate,
    Gates,
    Head,
    Machine,
    OnInconclusive,
    Qat,
    Quantization,
    RenderedDataset,
    RepresentativeSource,
    RevertPolicy,
    RolloutPolicy,
    ServiceManager,
    Signing,
    Smoke,
    Task,
    Training,
    VariantName,
    Via,
    WallsDataset,
    Wave,
    Weights,
)
from fleetctl.manifest.words import GLOB, NAME
from fleetctl.manifest.words import VISIBLE as _VISIBLE


def _fraction_hint(value: float) -> str:
    return f"write {value / 100:g}" if 1 < value <= 100 else ""


LABEL = Text(
    "label name", r"[A-Za-z_][A-Za-z0-9_.-]{0,62}", "begin with a letter; letters, digits, `_`, `.` and `-`"
)
LABEL_VALUE = Text("label value without commas, at most 256 characters", r"[^,\x00-\x1f\x7f]{0,256}")
CONFIG_KEY = Text(
    "config name", r"[A-Za-z_][A-Za-z0-9_-]{0,62}", "begin with a letter; letters, digits, `_` and `-`"
)
HOST = Text("host name or IP address", r"[A-Za-z0-9_:][A-Za-z0-9_.:%-]{0,252}")
USER = Text("user name", r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
INTERPRETER = Text(
    "absolute path or command name", rf"/{_VISIBLE}{{1,1000}}|[A-Za-z0-9_][A-Za-z0-9_.-]{{0,100}}"
)
BOARD_FOLDER = Text(
    "absolute path below `/`, without `..`",
    rf"(?!.*/\.\.(?:/|$))/(?!/*$){_VISIBLE}{{1,1000}}",
)
LOCAL_PATH = Text("path", rf"{_VISIBLE}{{1,1000}}")
INNER_PATH = Text("relative path without `..`", rf"(?:(?!/)(?!(?:.*/)?\.\.(?:/|$)){_VISIBLE}{{1,1000}})?")
INCLUDE = Text("relative path or glob", rf"(?!/){_VISIBLE}{{1,1000}}")
HTTPS_URL = Text(
    "address that begins with `https://`",
    r"https://[A-Za-z0-9.-]+(?::[0-9]+)?/[!-~]*",
    "plain http is not taken",
)
SHA256 = Text("sha256 in 64 lower-case hex digits", r"[0-9a-f]{64}")
SIGN = Text("Gardiner code such as `G17`", r"(?:Aa|N[LU]|[A-Z])[0-9]{1,3}[A-Za-z]?")
PLATE = Text("name of a plate in `boxes.csv`", r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")

BOARD_KIND = Choice(
    BoardKind,
    "board kind",
    refused={
        "coral-dev-board-micro": "is a microcontroller without Linux or Python, not for fleetctl to manage; "
        "build the model into its firmware with coralmicro, and leave it out of the fleet",
        "raspberrypizero": "has an ARMv6 processor, which no TFLite runtime is published for; "
        "use a Raspberry Pi Zero 2 and say `raspberrypizero2`",
    },
)
PYTHON_VERSION = Text('Python version such as `"3.11"`', r"3\.[0-9]{1,2}(?:\.[0-9]{1,2})?")
INTERPRETER_PACKAGE = Text(
    "TFLite runtime such as `tflite-runtime==2.14.0` or `ai-edge-litert==2.3.0`",
    r"(?:tflite-runtime|ai-edge-litert|tensorflow)==[0-9]{1,3}\.[0-9]{1,3}(?:\.[0-9]{1,3})?(?:\.post[0-9]{1,2})?",
    "the package and its version as pip takes them",
)
EDGE_TPU_LIBRARY = Text(
    'Debian version of libedgetpu such as `16.0tf2.17.1-1.bookworm`, or `"16.0"` for Google\'s own',
    r"[0-9]{1,3}\.[0-9]{1,3}(?:[Tt][Ff][0-9]{1,2}\.[0-9]{1,3}(?:\.[0-9]{1,3})?)?(?:[-+~][A-Za-z0-9.+~-]{1,40})?",
    "`dpkg-query -W 'libedgetpu1-*'` on the board says it",
)

REASON = Text("reason of 1 to 200 characters", rf"{_VISIBLE}{{1,200}}")

FRACTION = Number(0, 1, hint=_fraction_hint)
PERCENT = Number(0, 100, above=True, scale=100)
PORT = Integer(1, 65535)
SEED = Integer(0, 2**32 - 1)
DURATION = Quantity("duration", SECONDS, "30s", most=7 * 24 * 3600)
SOAK = Quantity("duration", SECONDS, "60s", most=7 * 24 * 3600, zero=True)
SIZE = Quantity("size", BYTES, "2MiB", most=2.0**34, whole=True)
SIDE = Integer(1, 1024)
FONTS = ListOf(Choice(Font, "font"), unique=True)


def _folder(path: str, evaluation: str | None = None, **values: Any) -> FolderDataset:
    # Still relative to the file that says it; the loader knows which that is.
    return FolderDataset(Path(path), Path(evaluation) if evaluation else None, **values)


def _walls(plates: str | None = None, crops: str | None = None, **values: Any) -> WallsDataset:
    return WallsDataset(Path(plates) if plates else None, Path(crops) if crops else None, **values)


def _wave(percent: float | None = None, **values: Any) -> Wave:
    return Wave(fraction=percent, **values)


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
        Field("max_size", SIZE, "largest model file; a bare number is bytes"),
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

RUNTIME = Record(
    "runtime",
    (
        Field("machine", Choice(Machine, "machine"), "what `uname -m` says: `armv7l` for a 32-bit system"),
        Field("python", PYTHON_VERSION, "of the interpreter that `python` names"),
        Field("tflite", INTERPRETER_PACKAGE, "the package with the TFLite interpreter"),
        Field("libedgetpu", EDGE_TPU_LIBRARY, "the Edge TPU's library"),
    ),
)

_SETTINGS = (
    Field("board", BOARD_KIND, "the hardware"),
    Field("model", NAME, "which of `models` it runs"),
    Field(
        "variant",
        Choice(VariantName, "variant"),
        "which file of the model; absent: see [below](#derived-settings)",
        derived=True,
    ),
    Field("via", Choice(Via, "transport"), "how writes reach it: over ssh, or over Azure IoT Hub"),
    Field("host", HOST, "its address; needed for `via: ansible`"),
    Field("port", PORT, "of its ssh server"),
    Field("user", USER, "to log in as"),
    Field("become", Boolean(), "use sudo on the board"),
    Field("python", INTERPRETER, "interpreter with numpy and a TFLite runtime"),
    Field("root", BOARD_FOLDER, "folder that holds everything fleetctl puts on the board"),
    Field("service", Choice(ServiceManager, "service manager"), "who keeps the model server running"),
    Field("serve_port", PORT, "of the model server, on the board's loopback"),
    Field(
        "accelerator",
        Choice(Accelerator, "accelerator"),
        "what the model must run on; absent: see [below](#derived-settings)",
        derived=True,
    ),
    Field("attached", Choice(Attached, "accelerator"), "an Edge TPU accelerator that is plugged into it"),
    Field(
        "runtime",
        RUNTIME,
        "versions it has, where they are not what its kind comes with; layers merge: "
        "see [compatibility.md](compatibility.md)",
    ),
    Field("labels", MapOf(LABEL, LABEL_VALUE), "words to select boards by; layers add to each other"),
    Field("config", MapOf(CONFIG_KEY, Anything()), "values for templates; layers merge, key by key"),
)
SETTINGS = Record("board settings", _SETTINGS, defaults=Board)
MATCH_FIELDS = ("board", "model", "via")  # every other key of `match` is a label
GROUP = Record(
    "group",
    (
        Field("boards", ListOf(GLOB, unique=True), "members by name or glob"),
        Field(
            "match",
            MapOf(LABEL, Text("text or glob", rf"{_VISIBLE}{{1,256}}")),
            "members by `board`, `model`, `via` or a label: all of them must match",
        ),
        *_SETTINGS,
    ),
    defaults=Board,
)
WAVE = Record(
    "wave",
    (
        Field("group", NAME, "the boards of this group"),
        Field("percent", PERCENT, "boards up to this share of the whole fleet, earlier waves counted"),
        Field("soak", SOAK, "time to watch before the gate decides"),
    ),
    build=_wave,
    defaults=Wave,
    one_of=("group", "percent"),
)
GATE = Record(
    "gate",
    (
        Field("canary_failures", Integer(0, 1_000_000), "boards of the first wave that may fail"),
        Field("success", FRACTION, "least share of a wave that must be verified"),
        Field("inconclusive", Choice(OnInconclusive, "action"), "when boards could not be asked"),
    ),
    build=Gate,
    defaults=Gate,
)
ROLLOUT = Record(
    "rollout",
    (
        Field("waves", ListOf(WAVE), "slices of the fleet in order; absent: one wave of everything"),
        Field("gate", GATE, "when the next wave may open"),
        Field("revert", Choice(RevertPolicy, "revert policy"), "which boards go back when a gate fails"),
        Field(
            "confirm_timeout", DURATION, "a board reverts itself unless the controller confirms in this time"
        ),
        Field("deadline", DURATION, "time a board has from push to proof"),
        Field(
            "signing",
            Choice(Signing, "word about signing"),
            "whether [releases are signed](security.md#signed-releases)",
        ),
        Field(
            "allow",
            MapOf(Choice(Danger, "danger"), REASON),
            "[dangers](gitops.md#dangers) of the very change that writes them here, and why they are meant",
        ),
    ),
    build=RolloutPolicy,
    defaults=RolloutPolicy,
)
METADATA = Record("metadata", (Field("name", NAME, "of the fleet", required=True),))

_PARTS = (
    Field(
        "include",
        ListOf(INCLUDE, unique=True),
        "files with more models, groups and boards, read in this order",
    ),
    Field("models", Named(NAME, MODEL, "model"), "recipes by name"),
    Field(
        "groups",
        Named(NAME, GROUP, "group"),
        "boards that share settings; a later group wins over an earlier",
    ),
    Field("boards", Named(NAME, SETTINGS, "board"), "boards by name"),
)
FLEET = Record(
    "fleet",
    (
        Field("apiVersion", Constant(API_VERSION), "version of this format", required=True),
        Field("kind", Constant("Fleet"), "what the file is", required=True),
        Field("metadata", METADATA, "about the fleet", required=True),
        Field("defaults", SETTINGS, "settings of every board, unless a group or the board says otherwise"),
        *_PARTS,
        Field("rollout", ROLLOUT, "how releases go out"),
        Field("drift", DRIFT, "which differences are known and left alone"),
        Field("iothub", IOTHUB, "the [Azure IoT Hub](iothub.md) of boards `via: iothub`"),
    ),
)
PART = Record("included file", _PARTS)
