"""`model_artifacts/fleet.lock`: which built bytes the manifest stands for. One reader, one writer.

The lock is JSON text made for review: sorted, indented, one number a line, so that a pull request shows what
a change of recipe did to the model's accuracy and size.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import asdict, force_setattr

from fleetctl.artifact import CONTRACT_FILE, GOLDEN_FILE, MODEL_FILE, Artifact, BlobRef
from fleetctl.checked_json import Malformed, Node, parse
from fleetctl.compatibility.requirements import Requirements
from fleetctl.errors import ManifestError, Problem
from fleetctl.store import atomic_write

LOCK_SCHEMA = "fleetctl.lock/v1"

_ARTIFACT_FILES = {CONTRACT_FILE, GOLDEN_FILE, MODEL_FILE}
_NEWER = re.compile(rb'"fleetctl\.lock/v([2-9]|[1-9][0-9]+)"')
_DECIMALS = 6  # of every fraction: gates judge what reviewers read


class ClassDrop(Struct, frozen=True):
    """The sign that lost most recall against float32: `drop` is a fraction of 1, negative if all gained."""

    label: str
    drop: float


class Metrics(Struct, frozen=True):
    """What a variant measured, on the evaluation samples. Accuracies and drops are fractions of 1.

    `worst_class` is None where no class has enough samples to be judged (see `fleetctl.models.drops`).
    `tpu_ops` is the fraction of operations that the compiler mapped to the Edge TPU; None for other variants.
    """

    samples: int
    top1: float
    drop: float
    worst_class: ClassDrop | None
    size: int  # bytes of model.tflite
    tpu_ops: float | None = None

    def __post_init__(self) -> None:
        force_setattr(self, "top1", round(self.top1, _DECIMALS))
        force_setattr(self, "drop", round(self.drop, _DECIMALS))
        if self.worst_class:
            rounded = ClassDrop(self.worst_class.label, round(self.worst_class.drop, _DECIMALS))
            force_setattr(self, "worst_class", rounded)


class Compilation(Struct, frozen=True):
    """How a variant was compiled for the Edge TPU. `on_chip` and `off_chip` are bytes of parameters.

    `predicted` is the share of operations that was expected to be mapped, `disagreements` which kinds of
    operations the compiler treated otherwise.
    """

    compiler: str
    min_runtime: int
    on_chip: int
    off_chip: int
    predicted: float
    disagreements: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        force_setattr(self, "predicted", round(self.predicted, _DECIMALS))


class Pending(Struct, frozen=True):
    """A variant that another machine is to compile: till then its `model.tflite` is the int8 model it will be
    compiled from. `predicted` as in `Compilation`.
    """

    predicted: float

    def __post_init__(self) -> None:
        force_setattr(self, "predicted", round(self.predicted, _DECIMALS))


class LockedVariant(Struct, frozen=True):
    """One built file. `requires` is what loading it takes; None in a lock from before that was recorded."""

    artifact: Artifact
    metrics: Metrics
    requires: Requirements | None = None
    edgetpu: Compilation | Pending | None = None

    @property
    def pending(self) -> bool:
        """Whether it is still to be compiled, and fit for no board."""
        return isinstance(self.edgetpu, Pending)


class LockedModel(Struct, frozen=True):
    """One model as built: from which inputs, with which tools (name -> version), into which variants."""

    input_digest: str
    toolchain: Mapping[str, str]
    variants: Mapping[str, LockedVariant]


class ModuleImage(Struct, frozen=True):
    """An image for boards over IoT Hub, as a registry keeps it.

    `content` is the digest of the files of a release that it carries, `digest` the one that pins it; `base`
    is the image that it is made from, and `size` how many bytes a board without any of it fetches.
    """

    content: str
    digest: str
    base: str
    size: int


Images = Mapping[str, Mapping[str, Mapping[str, ModuleImage]]]  # by model, variant, and platform: linux/arm64


class FleetLock(Struct, frozen=True):
    """Everything built for a fleet, by model name."""

    models: Mapping[str, LockedModel] = field(default_factory=dict)
    images: Images = field(default_factory=dict)


def read(path: Path) -> FleetLock:
    """The lock at `path`; an empty one where there is no file.

    Raises:
        ManifestError: the file is not a lock; the problem names the place.
    """
    file = f"{path.parent.name}/{path.name}"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return FleetLock()
    except OSError as error:
        raise _problem(file, Malformed(f"cannot be read: {error.strerror}"), "") from error
    return loads(data, file)


def loads(data: bytes, file: str) -> FleetLock:
    """The lock of this text, which problems are told of as of `file`.

    Raises:
        ManifestError: it is not a lock; the problem names the place.
    """
    try:
        return _lock(parse(data))
    except Malformed as error:
        raise _problem(file, error, _advice(error, data)) from None


def write(path: Path, lock: FleetLock) -> None:
    """Replace the lock at `path`, atomically."""
    atomic_write(path, dumps(lock))


def dumps(lock: FleetLock) -> str:
    """The text of a lock: a pure function of what it says."""
    models = {name: model_json(model) for name, model in lock.models.items()}
    images = {"images": _images_json(lock.images)} if lock.images else {}
    document = {"schema": LOCK_SCHEMA, "models": models, **images}
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def model_json(model: LockedModel) -> dict[str, Any]:
    """One model's part of the lock, as plain JSON values."""
    return {
        "input": model.input_digest,
        "toolchain": dict(model.toolchain),
        "variants": {name: _variant_json(variant) for name, variant in model.variants.items()},
    }


def model_from(node: Node, name: str) -> LockedModel:
    """Read what `model_json` wrote.

    Raises:
        Malformed: it is something else.
    """
    return LockedModel(
        input_digest=node.key("input").digest(),
        toolchain={tool: version.text() for tool, version in node.key("toolchain").items()},
        variants={key: _variant(child, name, key) for key, child in node.key("variants").items()},
    )


def _variant_json(variant: LockedVariant) -> dict[str, Any]:
    metrics = variant.metrics
    worst = metrics.worst_class
    requires = {"requires": variant.requires.to_json()} if variant.requires else {}
    return {
        "artifact": variant.artifact.digest,
        "files": {
            name: {"sha256": ref.sha256, "size": ref.size} for name, ref in variant.artifact.files.items()
        },
        "metrics": {
            "samples": metrics.samples,
            "top1": metrics.top1,
            "drop": metrics.drop,
            "worst_class": {"label": worst.label, "drop": worst.drop} if worst else None,
            "size": metrics.size,
            "tpu_ops": metrics.tpu_ops,
        },
        **requires,
        **_edgetpu_json(variant.edgetpu),
    }


def _edgetpu_json(edgetpu: Compilation | Pending | None) -> dict[str, Any]:
    match edgetpu:
        case Pending(predicted):
            return {"pending": {"predicted_tpu_ops": predicted}}
        case Compilation():
            return {
                "edgetpu": {
                    "compiler": edgetpu.compiler,
                    "min_runtime": edgetpu.min_runtime,
                    "on_chip_bytes": edgetpu.on_chip,
                    "off_chip_bytes": edgetpu.off_chip,
                    "predicted_tpu_ops": edgetpu.predicted,
                    "disagreements": list(edgetpu.disagreements),
                }
            }
    return {}


def _lock(root: Node) -> FleetLock:
    root.key("schema").exactly(LOCK_SCHEMA)
    models = {name: model_from(node, name) for name, node in root.key("models").items()}
    images = root.optional("images")
    return FleetLock(models, _images(images) if images else {})


def _images(node: Node) -> Images:
    return {
        model: {
            variant: {platform: _image(each) for platform, each in platforms.items()}
            for variant, platforms in variants.items()
        }
        for model, variants in node.items()
    }


def _image(node: Node) -> ModuleImage:
    return ModuleImage(
        node.key("content").digest(),
        node.key("digest").digest(),
        node.key("base").text(),
        node.key("size").integer(least=0),
    )


def _images_json(images: Images) -> dict[str, Any]:
    return {
        model: {
            variant: {platform: asdict(image) for platform, image in platforms.items()}
            for variant, platforms in variants.items()
        }
        for model, variants in images.items()
    }


def _variant(node: Node, model: str, name: str) -> LockedVariant:
    files = {
        file: BlobRef(child.key("sha256").digest(), child.key("size").integer(least=0))
        for file, child in node.key("files").items()
    }
    if set(files) != _ARTIFACT_FILES:
        node.key("files").refuse(f"expected exactly {', '.join(sorted(_ARTIFACT_FILES))}")
    artifact = Artifact(model, name, files)
    if node.key("artifact").digest() != artifact.digest:
        node.key("artifact").refuse("does not match the files below it: was this edited or merged by hand?")
    requires = node.optional("requires")
    return LockedVariant(
        artifact,
        _metrics(node.key("metrics")),
        Requirements.from_json(requires) if requires else None,
        _edgetpu(node),
    )


def _edgetpu(node: Node) -> Compilation | Pending | None:
    pending, compiled = node.optional("pending"), node.optional("edgetpu")
    if pending:
        return Pending(pending.key("predicted_tpu_ops").number(low=0.0, high=1.0))
    if not compiled:
        return None
    return Compilation(
        compiler=compiled.key("compiler").text(),
        min_runtime=compiled.key("min_runtime").integer(least=0),
        on_chip=compiled.key("on_chip_bytes").integer(least=0),
        off_chip=compiled.key("off_chip_bytes").integer(least=0),
        predicted=compiled.key("predicted_tpu_ops").number(low=0.0, high=1.0),
        disagreements=tuple(child.text() for child in compiled.key("disagreements").elements()),
    )


def _metrics(node: Node) -> Metrics:
    worst = node.optional("worst_class")
    tpu_ops = node.optional("tpu_ops")
    return Metrics(
        samples=node.key("samples").integer(least=0),
        top1=node.key("top1").number(low=0.0, high=1.0),
        drop=node.key("drop").number(low=-1.0, high=1.0),
        worst_class=ClassDrop(worst.key("label").text(), worst.key("drop").number(low=-1.0, high=1.0))
        if worst
        else None,
        size=node.key("size").integer(least=0),
        tpu_ops=tpu_ops.number(low=0.0, high=1.0) if tpu_ops else None,
    )


def _problem(file: str, error: Malformed, hint: str) -> ManifestError:
    return ManifestError([Problem(file, error.line, error.column, error.place, error.what, hint)])


def _advice(error: Malformed, data: bytes) -> str:
    if error.place == "schema" and _NEWER.search(data):
        return "a newer fleetctl wrote it: bring this one up to date"
    if any(line.startswith((b"<<<<<<< ", b">>>>>>> ")) for line in data.splitlines()):
        return "a merge left both sides in it: take either side whole, then run `fleetctl build`"
    return "take it back from git, or delete it and run `fleetctl build`"
