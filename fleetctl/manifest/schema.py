"""The manifest as typed, frozen values: what a fleet is, once it has been read and found valid.

Units are in the type: durations are seconds (float), sizes are bytes (int), fractions lie in [0, 1].
The YAML forms (`60s`, `2MiB`, `25`) are the loader's business.
"""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from msgspec import Struct, field

API_VERSION = "fleetctl/v1"


class BoardKind(StrEnum):
    """Hardware a board can be."""

    RASPBERRYPI3 = "raspberrypi3"
    RASPBERRYPI4 = "raspberrypi4"
    RASPBERRYPI5 = "raspberrypi5"
    RASPBERRYPI_ZERO2 = "raspberrypizero2"
    CORAL_DEV_BOARD = "coral-dev-board"
    CORAL_DEV_BOARD_MINI = "coral-dev-board-mini"
    GENERIC = "generic"

    @property
    def has_edge_tpu(self) -> bool:
        """True where an Edge TPU is soldered on."""
        return self.startswith("coral-")


class Attached(StrEnum):
    """An Edge TPU that is plugged into a board; what is soldered on is the kind's."""

    NONE = "none"
    USB = "usb"
    PCIE = "pcie"


class Machine(StrEnum):
    """Instruction sets that TFLite runtimes are published for, as `uname -m` names them."""

    AARCH64 = "aarch64"
    ARMV7L = "armv7l"
    X86_64 = "x86_64"


class Via(StrEnum):
    """How writes reach a board."""

    ANSIBLE = "ansible"
    IOTHUB = "iothub"


class Accelerator(StrEnum):
    """What a board's model must run on: `none` is the CPU, `required` never falls back to it."""

    NONE = "none"
    PREFERRED = "preferred"
    REQUIRED = "required"


class ServiceManager(StrEnum):
    """Who keeps `serve` running on a board."""

    SYSTEMD = "systemd"
    PROCESS = "process"


class Task(StrEnum):
    CLASSIFICATION = "classification"
    DETECTION = "detection"


class VariantName(StrEnum):
    FLOAT32 = "float32"
    DYNAMIC = "dynamic"
    FLOAT16 = "float16"
    INT8 = "int8"
    INT8_QAT = "int8-qat"
    EDGETPU = "edgetpu"


class OnInconclusive(StrEnum):
    """What a gate does with boards that could not be asked."""

    PAUSE = "pause"
    FAIL = "fail"
    PASS = "pass"  # noqa: S105 - no word to pass by


class RevertPolicy(StrEnum):
    """Which boards go back when a gate fails: the failed ones always do."""

    FAILED = "failed"
    WAVE = "wave"
    ALL = "all"


class Danger(StrEnum):
    """What a change of the fleet may do that is seldom meant, and is refused unless the change allows it."""

    DELETE_BOARDS = "delete-boards"  # every board, or more than a share of them
    REMOVE_MODEL = "remove-model"  # a model that boards run is gone or has another name
    LOWER_GATE = "lower-gate"  # less is asked of a model, of a board's proof, or of a wave
    EDITED_LOCK = "edited-lock"  # fleet.lock says what no build wrote
    TRUST = "trust"  # a key that signs releases is trusted, or is no more
    MANY_BOARDS = "many-boards"  # more new boards than the fleet has, and more than a few
    UNREADABLE_BASE = "unreadable-base"  # nobody can say what the change takes away


class Signing(StrEnum):
    """Whether releases are signed, so that boards with trusted keys take them."""

    NONE = "none"
    REQUIRED = "required"


class Font(StrEnum):
    """Whose outlines drawn signs have."""

    NOTO = "noto"  # Google's, after Gardiner's types; any other font with the signs may stand for it
    NEWGARDINER = "newgardiner"  # Nederhof's, plainer and thicker, as masons cut
    AEGYPTUS = "aegyptus"  # Douros', after Hieroglyphica: it has thousands of signs that Unicode lacks


class RenderedDataset(Struct, frozen=True, tag=True):
    """Signs drawn from installed hieroglyph fonts."""

    samples_per_sign: int = 120
    signs: tuple[str, ...] = ()  # Gardiner codes; empty: the list the models are usually trained on
    fonts: tuple[Font, ...] = (Font.NOTO,)  # that samples of a sign are drawn from in turn
    seed: int = 0


class FolderDataset(Struct, frozen=True, tag=True):
    """Photos on disk, `*_CODE.png` or `CODE/*.png`; `path` is relative to the file that says it."""

    path: Path
    evaluation: Path | None = None  # kept-out photos; none: a seeded, stratified fifth of `path`
    rendered: int = 0  # drawn samples of each sign to learn from besides; helps signs with few photos or none
    fonts: tuple[Font, ...] = (Font.NOTO,)  # that these are drawn from
    seed: int = 0


class ArchiveDataset(Struct, frozen=True, tag=True):
    """A zip or tar fetched over https and checked before it is opened; same layouts as a folder."""

    url: str
    sha256: str
    subfolder: str = ""
    seed: int = 0


class WallsDataset(Struct, frozen=True, tag=True):
    """Walls to find signs on: composed from sign crops or drawings over stone, and photos of real plates.

    `plates` is a folder of photos with a `boxes.csv` (columns plate, sign, x0, y0, x1, y1, in pixels).
    """

    plates: Path | None = None
    crops: Path | None = None  # a folder of sign photos to compose walls from; none: drawn signs
    fonts: tuple[Font, ...] = (Font.NOTO,)  # that these are drawn from
    held_out: tuple[str, ...] = ()  # plates never learnt from, that the detector is measured on
    walls: int = 400  # composed for learning
    seed: int = 0


Dataset = RenderedDataset | FolderDataset | ArchiveDataset | WallsDataset


class ArchitectureName(StrEnum):
    """Networks the builder knows. All of their operations run on an Edge TPU."""

    MOBILENET_V2 = "mobilenet_v2"
    EFFICIENTNET_LITE0 = "efficientnet_lite0"
    SSD_MOBILENET_V1 = "ssd_mobilenet_v1"


class Weights(StrEnum):
    """Where a network starts: from chance, or from what it learnt on ImageNet."""

    RANDOM = "random"
    IMAGENET = "imagenet"


class Head(StrEnum):
    """The last layer: learnt with the network, or a scikit-learn logistic regression over its features."""

    DENSE = "dense"
    LOGISTIC_REGRESSION = "logistic_regression"


class Architecture(Struct, frozen=True):
    """The network: a name the builder knows, its size, and the input (height, width, channels)."""

    name: ArchitectureName = ArchitectureName.MOBILENET_V2
    alpha: float = 0.5  # width multiplier of the MobileNets
    input: tuple[int, int, int] = (96, 96, 1)
    blocks: int = 16  # of efficientnet_lite0's sixteen, how many are kept from the first on
    members: int = 1  # networks that learn one after the other, and answer together
    weights: Weights = Weights.RANDOM
    head: Head = Head.DENSE


class Training(Struct, frozen=True):
    epochs: int = 60
    batch_size: int = 64
    learning_rate: float = 0.002
    seed: int = 0
    small_epochs: int = 0  # the first of `epochs`, in which pictures are three quarters as high and wide
    weight_decay: float = 0.02  # times the rate, what a weight of a reader loses at each step
    drawn_only: float = 0.0  # added to the logits of signs that no photo shows


class RepresentativeSource(StrEnum):
    """Which training samples show the converter the range of each layer."""

    ALL = "all"
    PHOTOS = "photos"
    RENDERED = "rendered"


class Qat(Struct, frozen=True):
    """Quantization-aware training: the trained network goes on learning with int8 rounding simulated."""

    epochs: int = 3
    learning_rate: float = 0.0001


class Quantization(Struct, frozen=True):
    """How integer variants come about."""

    representative: int = 300  # samples
    source: RepresentativeSource = RepresentativeSource.ALL
    qat: Qat = field(default_factory=Qat)


class EdgeTpuBuild(StrEnum):
    """Who compiles for the Edge TPU: this machine, a container on it, or CI (pending till then)."""

    HERE = "here"
    CONTAINER = "container"
    CI = "ci"


class EdgeTpu(Struct, frozen=True):
    compile: EdgeTpuBuild = EdgeTpuBuild.HERE
    timeout: float = 900.0  # seconds; large models take minutes


class Gates(Struct, frozen=True):
    """What a built model must reach. Accuracies and drops are fractions of 1; drops are against float32.

    Of a detector, accuracy is recall: the share of signs found at IoU 0.5 (whatever sign they are taken for).
    """

    min_accuracy: float | None = None
    max_drop: float | None = None
    max_class_drop: float | None = None
    min_tpu_ops: float | None = None
    max_size: int | None = None  # bytes


class Smoke(Struct, frozen=True):
    """The proof a board must give: golden samples answered as expected, fast enough."""

    samples: int = 16
    min_agreement: float = 0.98
    max_p95_ms: Mapping[BoardKind, float] = field(default_factory=dict)


class Model(Struct, frozen=True):
    """A named recipe: what to train on, what to build, what it must reach."""

    name: str
    task: Task
    dataset: Dataset
    architecture: Architecture = field(default_factory=Architecture)
    training: Training = field(default_factory=Training)
    variants: tuple[VariantName, ...] = (VariantName.INT8,)
    quantization: Quantization = field(default_factory=Quantization)
    edgetpu: EdgeTpu = field(default_factory=EdgeTpu)
    gates: Gates = field(default_factory=Gates)
    smoke: Smoke = field(default_factory=Smoke)


class Board(Struct, frozen=True):
    """One board with every setting resolved (fleet < groups in manifest order < board)."""

    name: str
    board: BoardKind
    model: str
    variant: VariantName  # resolved: `edgetpu` where the kind has one and the model builds it, else `int8`
    via: Via = Via.ANSIBLE
    host: str = ""  # needed for `via: ansible`
    port: int = 22
    user: str = "root"
    become: bool = False
    python: str = "/opt/fleetctl/venv/bin/python"  # interpreter with numpy and a TFLite runtime
    root: str = "/opt/fleetctl"
    service: ServiceManager = ServiceManager.SYSTEMD
    serve_port: int = 8091
    accelerator: Accelerator = Accelerator.NONE
    attached: Attached = Attached.NONE
    runtime: Mapping[str, str] = field(
        default_factory=dict
    )  # what it has besides: see fleetctl.compatibility
    labels: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)  # reaches the templates
    groups: tuple[str, ...] = ()  # that it is in, in manifest order


class Wave(Struct, frozen=True):
    """A slice of the fleet: a group, or everything up to a cumulative fraction of all boards."""

    group: str | None = None
    fraction: float | None = None
    soak: float = 0.0  # seconds to watch before the gate decides


class Gate(Struct, frozen=True):
    """When the next wave may open. `success` is the fraction of a wave's boards that must be verified."""

    canary_failures: int = 0
    success: float = 0.95
    inconclusive: OnInconclusive = OnInconclusive.PAUSE


class RolloutPolicy(Struct, frozen=True):
    waves: tuple[Wave, ...] = (Wave(fraction=1.0),)
    gate: Gate = field(default_factory=Gate)
    revert: RevertPolicy = RevertPolicy.WAVE
    confirm_timeout: float = 30.0  # seconds a board waits for the controller before it reverts itself
    deadline: float = 300.0  # seconds a board has from push to proof
    signing: Signing = Signing.NONE
    allow: Mapping[Danger, str] = field(default_factory=dict)  # dangers of a change, and why they are meant


class DriftKind(StrEnum):
    """What can be other than git says."""

    RELEASE = "release"  # another release than declared, on disk or in memory
    MODEL = "model"  # another model file
    CONFIG = "config"  # a value of config/serve.json
    FILE = "file"  # any other file of the release
    UNIT = "unit"  # the systemd unit was edited, or a drop-in lies over it
    SERVICE = "service"  # it does not run, lacks the accelerator that was asked for, or has not proved itself


class DriftRule(Struct, frozen=True):
    """Differences that `drift` leaves aside, and why. What is not narrowed down holds for everything."""

    reason: str
    boards: tuple[str, ...] = ()  # names or globs
    kind: DriftKind | None = None
    what: str = ""  # glob of a path in the release, or of a config name
    until: str = ""  # the last day it holds, such as 2026-12-31


class DriftPolicy(Struct, frozen=True):
    ignore: tuple[DriftRule, ...] = ()


class HubTier(StrEnum):
    """Sizes that an Azure IoT Hub is sold in; each has its rates and limits."""

    F1 = "F1"
    S1 = "S1"
    S2 = "S2"
    S3 = "S3"


class IotHub(Struct, frozen=True):
    """The hub that boards `via: iothub` are reached over, and where their module images are kept."""

    host: str = ""  # to sign in to with Entra ID; a connection string is a secret, and in the environment
    registry: str = ""  # `host/repository`
    base: str = ""  # image that module images are made from; empty: Debian with Python
    tier: HubTier = HubTier.S1
    units: int = 1
    layered: bool = False  # boards have other modules: ours is laid upon their deployment


class Fleet(Struct, frozen=True):
    """A whole valid manifest. Mappings keep the order of the file."""

    name: str
    path: Path  # of fleet.yaml
    models: Mapping[str, Model]
    groups: Mapping[str, tuple[str, ...]]  # resolved members, in board order
    boards: Mapping[str, Board]
    rollout: RolloutPolicy
    digest: str  # sha256 over the bytes of every file read
    drift: DriftPolicy = field(default_factory=DriftPolicy)
    iothub: IotHub = field(default_factory=IotHub)

    @property
    def directory(self) -> Path:
        """The folder of fleet.yaml: templates and known_hosts lie here."""
        return self.path.parent
