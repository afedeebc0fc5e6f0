"""What must travel together with a model: the contract, and the artifact that binds it to its bytes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fleetctl.checked_json import Malformed, Node, parse
from fleetctl.errors import BuildError
from fleetctl.store import BlobStore, canonical_json, sha256

CONTRACT_SCHEMA = "fleetctl.contract/v1"

MODEL_FILE = "model.tflite"
CONTRACT_FILE = "contract.json"
GOLDEN_FILE = "golden.npy"


@dataclass(frozen=True, slots=True)
class Tensor:
    """One end of a model. `real = scale * (stored - zero_point)`; scale 0: the tensor is not quantized."""

    shape: tuple[int, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0


@dataclass(frozen=True, slots=True)
class GoldenAnswer:
    """What the model said on the build host for one golden sample: the sign, and its dequantized score."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Contract:
    """Everything a board needs to use a model correctly and to prove that it does.

    `labels[i]` names output index `i`. `preprocess` is the argument of `fleetctl.device.preprocess.prepare`.
    The golden samples are `golden.npy`: uint8 (samples, height, width), grey, *before* preprocessing.
    `score_tolerance` is how far a score may lie from the golden one: the same int8 model differs by up to
    17/255 between arm64 and x86-64 (XNNPACK), so equality would refuse good boards.
    """

    model: str
    variant: str
    task: str
    labels: tuple[str, ...]
    preprocess: Mapping[str, Any]
    input: Tensor
    output: Tensor
    golden: tuple[GoldenAnswer, ...]
    score_tolerance: float

    def to_json(self) -> bytes:
        """Canonical JSON, the bytes that go into the artifact."""
        return canonical_json(
            {
                "schema": CONTRACT_SCHEMA,
                "model": self.model,
                "variant": self.variant,
                "task": self.task,
                "labels": list(self.labels),
                "preprocess": dict(self.preprocess),
                "input": _tensor_json(self.input),
                "output": _tensor_json(self.output),
                "golden": [{"label": g.label, "score": g.score} for g in self.golden],
                "score_tolerance": self.score_tolerance,
            }
        )

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
    return Contract(
        model=root.key("model").text(),
        variant=root.key("variant").text(),
        task=root.key("task").text(),
        labels=labels,
        preprocess=root.key("preprocess").mapping(),
        input=_tensor(root.key("input")),
        output=_tensor(root.key("output")),
        golden=tuple(_answer(node, labels) for node in root.key("golden").elements()),
        score_tolerance=root.key("score_tolerance").number(low=0.0, high=1.0),
    )


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


def _tensor_json(tensor: Tensor) -> dict[str, Any]:
    return {
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "scale": tensor.scale,
        "zero_point": tensor.zero_point,
    }


@dataclass(frozen=True, slots=True)
class BlobRef:
    """Bytes by their digest and size."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Artifact:
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
