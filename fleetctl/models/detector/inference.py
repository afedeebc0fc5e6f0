"""Running a built detector on the build host, by the very path a board takes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import asdict
from numpy.typing import NDArray

from fleetctl.artifact import Contract, Tensor
from fleetctl.device import boxes, detection_terms, scenes
from fleetctl.device.preprocess import to_grey
from fleetctl.errors import BuildError
from fleetctl.models import evaluate, runtime
from fleetctl.models.detector.train import TrainedDetector

_REBUILD = "run `fleetctl build --force`"
_THREADS = 2
_ENDS = "a detector has one input and two outputs: scores (1, N, labels) and boxes (1, N, 4)"


class Detection(Struct, frozen=True):
    """A sign that was found: its box as x0, y0, x1, y1 in pixels of the picture, and a score of 0..1."""

    box: tuple[float, float, float, float]
    sign: str
    score: float


class Ends(Struct, frozen=True):
    """The tensors of a detector, as its contract describes them."""

    input: Tensor
    scores: Tensor
    boxes: Tensor


def ends(model: bytes, labels: int) -> Ends:
    """Tell the tensors of a detector of so many labels apart, by their shapes.

    Raises:
        BuildError: the model is no such detector.
    """
    made = runtime.interpreter(model, threads=1)
    inputs, outputs = made.get_input_details(), made.get_output_details()
    shapes = [tuple(int(side) for side in one["shape"]) for one in outputs]
    scores = [i for i, shape in enumerate(shapes) if len(shape) == 3 and shape[2] == labels]
    placed = [i for i, shape in enumerate(shapes) if len(shape) == 3 and shape[2] == 4]
    if len(inputs) != 1 or len(shapes) != 2 or len(scores) != 1 or len(placed) != 1:
        raise BuildError(f"the model has outputs {shapes} for {labels} labels", hint=_ENDS)
    found = (inputs[0], outputs[scores[0]], outputs[placed[0]])
    return Ends(*(_tensor(one) for one in found))


def contract(model: bytes, trained: TrainedDetector, *, name: str = "", variant: str = "") -> Contract:
    """The contract of a converted detector, without golden scenes.

    Raises:
        BuildError: the model does not fit what was trained.
    """
    found = ends(model, len(trained.labels))
    return Contract(
        model=name,
        variant=variant,
        task="detection",
        labels=trained.labels,
        preprocess=trained.preprocess,
        input=found.input,
        output=found.scores,
        golden=(),
        score_tolerance=1.0,
        boxes=found.boxes,
        detection=trained.detection,
    )


class Detector:
    """A TFLite detector with its contract.

    Raises:
        BuildError: the contract is not a detector's, or the model is not the one it describes.
    """

    def __init__(self, model: bytes, contract: Contract) -> None:
        if contract.boxes is None or contract.detection is None:
            raise BuildError(
                f"the model is a {contract.task} model, not a detector", hint="name a model of task detection"
            )
        said = contract.to_mapping()
        try:
            detection_terms.check(said)
        except detection_terms.TermsRefused as refused:
            raise BuildError(f"the detector's contract: {refused}", hint=_REBUILD) from None
        self._contract: dict[str, Any] = said
        self._made = runtime.interpreter(model, threads=_THREADS)
        inputs, outputs = self._made.get_input_details(), self._made.get_output_details()
        self._input = _place("input", contract.input, inputs)
        self._scores = _place("output", contract.output, outputs)
        self._boxes = _place("boxes", contract.boxes, outputs)

    @property
    def min_score(self) -> float:
        """The score from which the contract tells of a detection."""
        return float(self._contract["detection"]["min_score"])

    def terms(self, tolerance: float) -> scenes.Terms:
        """By what this detector's answers are compared, were its contract's `score_tolerance` this one."""
        terms = scenes.terms_of({**self._contract, "score_tolerance": tolerance})
        assert terms is not None  # the contract was checked
        return terms

    def detect(
        self,
        image: NDArray[np.uint8],
        *,
        min_score: float | None = None,
        tile: Callable[[], None] = lambda: None,
    ) -> list[Detection]:
        """What is found on uint8 (H, W) or (H, W, 3), by falling score.

        Args:
            min_score: instead of the contract's.
            tile: called after each tile of the image.

        Raises:
            BuildError: the model gave a number that is none, or cannot be run, or its contract asks for a
                preprocessing that there is not.
        """

        def run(tensor: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
            self._made.set_tensor(self._input, tensor)
            runtime.invoke(self._made)
            tile()
            return self._made.get_tensor(self._scores), self._made.get_tensor(self._boxes)

        terms = self._contract
        if min_score is not None:
            terms = {**terms, "detection": {**terms["detection"], "min_score": min_score}}
        try:
            found = boxes.detect(image, terms, run)
        except (ArithmeticError, ValueError) as exc:
            raise BuildError(f"the detector cannot be used: {exc}") from None
        return [Detection(tuple(one["box"]), one["sign"], one["score"]) for one in found]

    def tile_count(self, image: NDArray[np.uint8]) -> int:
        """How many tiles `detect` runs for an image."""
        height, width = self._contract["preprocess"]["shape"][:2]
        overlap = self._contract["detection"]["overlap"]
        return len(boxes.tiles(image.shape[0], image.shape[1], height, width, overlap))


class Reader:
    """A sign reader that names what a detector found.

    Raises:
        BuildError: the contract is not a reader's, or the model is no TFLite model.
    """

    def __init__(self, model: bytes, contract: Contract) -> None:
        if contract.boxes is not None:
            raise BuildError("the reader is a detector itself", hint="name a model of task classification")
        self._model, self._contract = model, contract

    def read(self, image: NDArray[np.uint8], found: Sequence[Detection]) -> list[Detection]:
        """The same detections, each with the sign that the reader sees in its box."""
        if not found:
            return []
        grey = to_grey(image)
        scored = evaluate.scores(
            self._model,
            self._contract.labels,
            self._contract.preprocess,
            self._contract.input,
            self._contract.output,
            [_crop(grey, one.box) for one in found],
        )
        signs = [self._contract.labels[int(row.argmax())] for row in scored]
        return [Detection(one.box, sign, one.score) for one, sign in zip(found, signs, strict=True)]


def _crop(grey: NDArray[np.uint8], box: Sequence[float]) -> NDArray[np.uint8]:
    """What a box frames, at least one pixel."""
    height, width = grey.shape
    left, top = min(int(box[0]), width - 1), min(int(box[1]), height - 1)
    return grey[top : max(top + 1, round(box[3])), left : max(left + 1, round(box[2]))]


def _tensor(details: Mapping[str, Any]) -> Tensor:
    scale, zero_point = details["quantization"]
    shape = tuple(int(side) for side in details["shape"])
    return Tensor(shape, np.dtype(details["dtype"]).name, float(scale), int(zero_point))


def _place(end: str, said: Tensor, found: Sequence[Mapping[str, Any]]) -> int:
    """The interpreter's index of the tensor that the contract describes."""
    fitting = [one for one in found if detection_terms.alike(asdict(said), asdict(_tensor(one)))]
    if len(fitting) != 1:
        raise BuildError(f"the model's {end} is not the one that the contract describes", hint=_ENDS)
    return int(fitting[0]["index"])
