"""What must travel together with a model: the contract, and the artifact that binds it to its bytes."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from fleetctl.checked_json import Malformed, Node, parse
from fleetctl.device import detection_terms
from fleetctl.errors import BuildError
from fleetctl.store import BlobStore, canonical_json, sha256

CONTRACT_SCHEMA = "fleetctl.contract/v1"

DETECTION = "detection"  # the task whose contract has boxes
GOLDEN_DETECTIONS = 1000  # in all scenes: a receipt holds a board's answer to each, and has to stay small
SIDE = 1 << 16  # pixels: larger than any picture that is read

MODEL_FILE = "model.tflite"
CONTRACT_FILE = "contract.json"
GOLDEN_FILE = "golden.npy"


class Tensor(Struct, frozen=True):
    """One end of a model. `real = scale * (stored - zero_point)`; scale 0: the tensor is not quantized."""

    shape: tuple[int, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0


class GoldenAnswer(Struct, frozen=True):
    """What the model said on the build host for one golden sample: the sign, and its dequantized score."""

    label: str
    score: float


class GoldenDetection(Struct, frozen=True):
    """A sign that the model found on the build host in a golden scene.

    `box` is x0, y0, x1, y1 in pixels of the sample, `score` dequantized, 0 to 1.
    """

    label: str
    score: float
    box: tuple[float, float, float, float]


GoldenScene = tuple[GoldenDetection, ...]


class Contract(Struct, frozen=True):
    """Everything a board needs to use a model correctly and to prove that it does.

    `labels[i]` names output index `i`. `preprocess` is the argument of `fleetctl.device.preprocess.prepare`.
    The golden samples are `golden.npy`: uint8 (samples, height, width), grey, *before* preprocessing.
    `score_tolerance` is how far a score may lie from the golden one: the same int8 model differs by up to
    17/255 between arm64 and x86-64 (XNNPACK), so equality would refuse good boards.

    A detector (task `detection`) has two outputs: `output`, the scores (1, N, labels), and `boxes`,
    (1, N, 4). `detection` says how they are read (`fleetctl.device.boxes`), and each golden answer is a
    scene: everything found on that sample, or nothing.
    """

    model: str
    variant: str
    task: str
    labels: tuple[str, ...]
    preprocess: Mapping[str, Any]
    input: Tensor
    output: Tensor
    golden: tuple[GoldenAnswer, ...] | tuple[GoldenScene, ...]
    score_tolerance: float
    boxes: Tensor | None = None
    detection: Mapping[str, Any] | None = None

    @property
    def model_file(self) -> str:
        """What messages call the model that it describes."""
        return f"{self.model}/{self.variant}/{MODEL_FILE}"

    def to_json(self) -> bytes:
        """Canonical JSON, the bytes that go into the artifact."""
        return canonical_json(self.to_mapping())

    def to_mapping(self) -> dict[str, Any]:
        """What `contract.json` holds, as plain values; `fleetctl.device` reads contracts in this form."""
        said: dict[str, Any] = {
            "schema": CONTRACT_SCHEMA,
            "model": self.model,
            "variant": self.variant,
            "task": self.task,
            "labels": list(self.labels),
            "preprocess": dict(self.preprocess),
            "input": _tensor_json(self.input),
            "output": _tensor_json(self.output),
            "golden": [_golden_json(answer) for answer in self.golden],
            "score_tolerance": self.score_tolerance,
        }
        if self.boxes is not None:
            said["boxes"] = _tensor_json(self.boxes)
        if self.detection is not None:
            said["detection"] = dict(self.detection)
        return said

    @classmethod
    def from_json(cls, data: bytes) -> "Contract":
        """Read the bytes of a `contract.json`, checking every field.

        Raises:
            BuildError: the bytes are not a contract; the message names the place.
        """
        try:
            return _contract(parse(data))
        except Malformed as error:
            raise BuildError(f"{CONTRACT_FILE}: {error}", hint="run `fleetctl build --force`") from None


def _contract(root: Node) -> Contract:
    root.key("schema").exactly(CONTRACT_SCHEMA)
    labels = tuple(node.text() for node in root.key("labels").elements())
    if not labels or len(set(labels)) != len(labels):
        root.key("labels").refuse("expected at least one label, each once")
    task = root.key("task").text()
    if task == DETECTION:
        _check_detection(root)
    boxes, detection = root.optional("boxes"), root.optional("detection")
    return Contract(
        model=root.key("model").text(),
        variant=root.key("variant").text(),
        task=task,
        labels=labels,
        preprocess=root.key("preprocess").mapping(),
        input=_tensor(root.key("input")),
        output=_tensor(root.key("output")),
        golden=_golden(root, labels, task),
        score_tolerance=root.key("score_tolerance").number(low=0.0, high=1.0),
        boxes=None if boxes is None else _tensor(boxes),
        detection=None if detection is None else detection.mapping(),
    )


def _check_detection(root: Node) -> None:
    try:
        detection_terms.check(root.mapping())
    except detection_terms.TermsRefused as error:
        root.refuse(str(error))


def _golden(
    root: Node, labels: tuple[str, ...], task: str
) -> tuple[GoldenAnswer, ...] | tuple[GoldenScene, ...]:
    nodes = root.key("golden").elements()
    if task != DETECTION:
        return tuple(_answer(node, labels) for node in nodes)
    most = root.key("detection").key("most").integer()
    scenes = tuple(_scene(node, labels, most) for node in nodes)
    if sum(map(len, scenes)) > GOLDEN_DETECTIONS:
        root.key("golden").refuse(f"expected at most {GOLDEN_DETECTIONS} detections in all")
    return scenes


def _scene(node: Node, labels: tuple[str, ...], most: int) -> GoldenScene:
    scene = tuple(_golden_detection(one, labels) for one in node.elements())
    if len(scene) >= most:  # what else there is, nobody knows: a board may rightly find it
        node.refuse(f"expected fewer than {most} detections, the most that are told")
    return scene


def _golden_detection(node: Node, labels: tuple[str, ...]) -> GoldenDetection:
    known, box = _answer(node, labels), node.key("box")
    sides = [side.number(low=-SIDE, high=SIDE) for side in box.elements()]
    if len(sides) != 4 or sides[0] >= sides[2] or sides[1] >= sides[3]:
        box.refuse("expected x0, y0, x1, y1 with x0 < x1 and y0 < y1")
    return GoldenDetection(known.label, known.score, (sides[0], sides[1], sides[2], sides[3]))


def _tensor(node: Node) -> Tensor:
    return Tensor(
        shape=tuple(size.integer(least=1) for size in node.key("shape").elements()),
        dtype=node.key("dtype").text(),
        scale=node.key("scale").number(low=0.0),
        zero_point=node.key("zero_point").integer(),
    )


def _answer(node: Node, labels: tuple[str, ...]) -> GoldenAnswer:
    label = node.key("label")
    if label.text() not in labels:
        label.refuse(f"{label.text()!r} is not one of the labels")
    return GoldenAnswer(label.text(), node.key("score").number())


def _golden_json(answer: GoldenAnswer | GoldenScene) -> Any:
    if isinstance(answer, GoldenAnswer):
        return {"label": answer.label, "score": answer.score}
    return [{"label": one.label, "score": one.score, "box": list(one.box)} for one in answer]


def _tensor_json(tensor: Tensor) -> dict[str, Any]:
    return {
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "scale": tensor.scale,
        "zero_point": tensor.zero_point,
    }


class BlobRef(Struct, frozen=True):
    """Bytes by their digest and size."""

    sha256: str
    size: int


class Artifact(Struct, frozen=True):
    """A built variant with its contract: file name -> blob. Its digest is a pure function of those."""

    model: str
    variant: str
    files: Mapping[str, BlobRef]

    @property
    def digest(self) -> str:
        return sha256(canonical_json({name: ref.sha256 for name, ref in self.files.items()}))


def verify_artifact(artifact: Artifact, store: BlobStore) -> None:
    """Check that every file of an artifact is in the store, byte for byte.

    Raises:
        BuildError: a blob is absent, unreadable or altered; the message names the model, variant and file.
    """
    for name, ref in artifact.files.items():
        try:
            store.verify(ref.sha256)
        except BuildError as error:
            where = f"{artifact.model}/{artifact.variant}/{name}"
            raise BuildError(f"{where}: {error.message}", hint=error.hint) from error
