"""What a built model answers, and how often it is right, by the very path a board takes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import asdict, replace
from numpy.typing import NDArray

from fleetctl.artifact import GoldenAnswer, Tensor
from fleetctl.device.preprocess import from_output, prepare, to_input
from fleetctl.errors import BuildError
from fleetctl.models import photos, runtime
from fleetctl.models.gardiner import UNKNOWN
from fleetctl.models.progress import Progress, silent
from fleetctl.models.samples import Grey, Samples

_NO_NUMBER = "a weight is too large for its kind of number, as float16 ends at 65,504: leave that variant out"


class Evaluation(Struct, frozen=True):
    """How a model did on labelled photos.

    `top1` counts every labelled photo: a sign the model was never taught is an error. `top1_seen` counts only
    signs it was taught. `per_class` is sign -> (photos, right answers), in the order of the signs. These
    figures take the model's best sign whatever its score; `rejection` says what a threshold would change.
    """

    n: int
    top1: float
    n_seen: int
    top1_seen: float
    per_class: Mapping[str, tuple[int, int]]
    rejection: "Rejection | None" = None


class Rejection(Struct, frozen=True):
    """What becomes of photos where an answer that scores below `threshold` is UNKNOWN, as on a board.

    Photos labelled UNKNOWN, which nobody could read, ought to be rejected; labelled ones ought not. `right`
    counts the accepted photos that were read rightly.
    """

    threshold: float
    labelled: int
    accepted: int
    right: int
    unknown: int
    unknown_rejected: int

    @property
    def top1_accepted(self) -> float:
        """The accepted photos that are read rightly, as a fraction; 0 where none is accepted."""
        return self.right / self.accepted if self.accepted else 0.0


def read(folder: Path) -> Samples:
    """Every photo of a folder, also those labelled UNKNOWN.

    Raises:
        BuildError: as `fleetctl.models.photos.find` and `decode`.
    """
    found = photos.find(folder)
    return Samples(
        [photos.decode(photo.path) for photo in found],
        [photo.label for photo in found],
        [photo.name for photo in found],
    )


def evaluate(
    model: bytes,
    labels: Sequence[str],
    preprocess: Mapping[str, Any],
    input: Tensor,
    output: Tensor,
    samples: Samples,
    *,
    threshold: float | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Measure a TFLite model on samples.

    Those labelled UNKNOWN count in `rejection` alone, which a `threshold` (a score, 0..1) asks for.

    Raises:
        BuildError: no labelled sample, or a model that does not fit its labels.
    """
    demand_labelled(samples)
    if threshold is None:
        samples = samples.pick(i for i, label in enumerate(samples.labels) if label != UNKNOWN)
    scored = scores(model, labels, preprocess, input, output, samples.images, progress=progress)
    best = answers(scored, labels)
    known = [i for i, label in enumerate(samples.labels) if label != UNKNOWN]
    measured = judge([samples.labels[i] for i in known], [best[i].label for i in known], taught=labels)
    if threshold is None:
        return measured
    return replace(measured, rejection=reject(samples.labels, best, threshold))


def demand_labelled(samples: Samples) -> None:
    """Raise `BuildError` where no photo has a sign that a model could be held against."""
    if all(label == UNKNOWN for label in samples.labels):
        raise BuildError(
            "there is no labelled photo to evaluate on",
            hint="give photos whose sign is known: those labelled UNKNOWN cannot be read rightly",
        )


def reject(truth: Sequence[str], answered: Sequence[GoldenAnswer], threshold: float) -> Rejection:
    """Count what a threshold rejects: an answer is accepted from that score on, as a board does."""
    known = [(t, a) for t, a in zip(truth, answered, strict=True) if t != UNKNOWN]
    unknown = [a for t, a in zip(truth, answered, strict=True) if t == UNKNOWN]
    accepted = [(t, a) for t, a in known if a.score >= threshold]
    return Rejection(
        threshold,
        labelled=len(known),
        accepted=len(accepted),
        right=sum(t == a.label for t, a in accepted),
        unknown=len(unknown),
        unknown_rejected=sum(a.score < threshold for a in unknown),
    )


def judge(truth: Sequence[str], answered: Sequence[str], *, taught: Sequence[str]) -> Evaluation:
    """Count right answers, in all, among the taught signs, and for each sign."""
    per_class = {
        sign: (
            sum(1 for t in truth if t == sign),
            sum(1 for t, a in zip(truth, answered, strict=True) if t == a == sign),
        )
        for sign in sorted(set(truth))
    }
    right = sum(correct for _, correct in per_class.values())
    n_seen = sum(n for sign, (n, _) in per_class.items() if sign in set(taught))
    return Evaluation(len(truth), right / len(truth), n_seen, right / n_seen if n_seen else 0.0, per_class)


def scores(
    model: bytes,
    labels: Sequence[str],
    preprocess: Mapping[str, Any],
    input: Tensor,
    output: Tensor,
    images: Sequence[Grey],
    *,
    progress: Progress = silent,
) -> NDArray[np.float32]:
    """Dequantized scores of each image, float32 (images, labels).

    Raises:
        BuildError: the model's output has another length than `labels`, or a score is no number.
    """
    if output.shape[-1] != len(labels):
        raise BuildError(f"the model gives {output.shape[-1]} scores for {len(labels)} labels")
    made = runtime.interpreter(model)
    described_input, described_output = asdict(input), asdict(output)
    rows = np.empty((len(images), len(labels)), np.float32)
    for number, image in enumerate(images):
        value = to_input(prepare(image, preprocess), described_input)
        rows[number] = from_output(runtime.run(made, value), described_output)
        progress("evaluate", number + 1, len(images))
    if not np.isfinite(rows).all():  # the first label would be taken for the best; a board gives no answer
        raise BuildError("the model gave a score that is no number", hint=_NO_NUMBER)
    return rows


def answers(scored: NDArray[np.float32], labels: Sequence[str]) -> list[GoldenAnswer]:
    """The best label of each row of scores, with its score."""
    return [GoldenAnswer(labels[int(row.argmax())], float(row.max())) for row in scored]
