"""What a build keeps of its measurements, so that a card can be written again without measuring again.

`<model>.measurements.json` lies beside the trained weights and may be lost with them. It holds numbers and
names only: no photo, no time, no path.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import Struct, field, to_builtins
from numpy.typing import NDArray

from fleetctl.checked_json import Node, parse
from fleetctl.models.golden import Kind
from fleetctl.models.margins import GoldenSample, GoldenSet, Trial
from fleetctl.models.samples import Samples, is_drawn, shared
from fleetctl.models.trial import Said
from fleetctl.store import canonical_json, sha256

SCHEMA = "fleetctl.measurements/v1"
_DECIMALS = 6


class Counts(Struct, frozen=True):
    """How many samples of a sign there are: photos and drawings learnt from, and samples kept out."""

    photos: int
    drawn: int
    evaluation: int


class Data(Struct, frozen=True, omit_defaults=True):
    """The split: a digest over names, labels and pixels of each part, and counts by sign.

    `shared` counts the evaluation samples that were learnt from, too: 0 of a sound dataset.
    """

    train: str
    evaluation: str
    counts: Mapping[str, Counts]
    shared: int = 0


class Answers(Struct, frozen=True):
    """What one variant said of each evaluation sample: its best label (an index) and that label's score."""

    best: tuple[int, ...]
    score: tuple[float, ...]


class VariantRecord(Struct, frozen=True):
    """What was measured of one variant. `size` is in bytes.

    `names` are those of the golden samples. `detection` is what a detector's
    `fleetctl.models.detector.measure.DetectionEvaluation` says, as plain data.
    """

    size: int
    answers: Answers | None = None
    golden: GoldenSet | None = None
    names: tuple[str, ...] = ()
    detection: Mapping[str, Any] | None = None


class Measurements(Struct, frozen=True):
    """What a build measured of a model. `truth` is the label of each evaluation sample."""

    inputs: str
    labels: tuple[str, ...]
    data: Data
    truth: tuple[str, ...]
    variants: Mapping[str, VariantRecord] = field(default_factory=dict)


def data_of(train: Samples, evaluation: Samples) -> Data:
    """Describe a split."""
    drawn = Samples([], [], [])
    for label, name in zip(train.labels, train.names, strict=True):
        if is_drawn(name):
            drawn.labels.append(label)
    learnt, drawings, kept = train.counts, drawn.counts, evaluation.counts
    counts = {
        sign: Counts(learnt[sign] - drawings[sign], drawings[sign], kept[sign])
        for sign in sorted({*learnt, *kept})
    }
    return Data(_digest(train), _digest(evaluation), counts, shared(train, evaluation))


def answers_of(scores: NDArray[np.float32]) -> Answers:
    """The best label of each row of scores (samples, labels), with its score."""
    best = scores.argmax(axis=1)
    return Answers(tuple(int(i) for i in best), tuple(round(float(row.max()), _DECIMALS) for row in scores))


def dumps(measured: Measurements) -> bytes:
    """The bytes of `<model>.measurements.json`: a pure function of what was measured."""
    return canonical_json({"schema": SCHEMA, **to_builtins(measured)})


def loads(data: bytes) -> Measurements:
    """Read what `dumps` wrote.

    Raises:
        Malformed: it is something else.
    """
    root = parse(data)
    root.key("schema").exactly(SCHEMA)
    return Measurements(
        root.key("inputs").digest(),
        _texts(root.key("labels")),
        _data(root.key("data")),
        _texts(root.key("truth")),
        {name: _variant(node) for name, node in root.key("variants").items()},
    )


def _digest(samples: Samples) -> str:
    parts = sorted(
        [name, label, *map(str, image.shape), sha256(image.tobytes())]
        for name, label, image in zip(samples.names, samples.labels, samples.images, strict=True)
    )
    return sha256(canonical_json(parts))


def _texts(node: Node) -> tuple[str, ...]:
    return tuple(element.text() for element in node.elements())


def _data(node: Node) -> Data:
    counts = {
        sign: Counts(*(child.key(part).integer(least=0) for part in ("photos", "drawn", "evaluation")))
        for sign, child in node.key("counts").items()
    }
    both = node.optional("shared")
    return Data(
        node.key("train").digest(),
        node.key("evaluation").digest(),
        counts,
        both.integer(least=0) if both else 0,
    )


def _variant(node: Node) -> VariantRecord:
    answers, golden, detection = (node.optional(name) for name in ("answers", "golden", "detection"))
    return VariantRecord(
        node.key("size").integer(least=0),
        _answers(answers) if answers else None,
        _golden(golden) if golden else None,
        _texts(node.key("names")),
        detection.mapping() if detection else None,
    )


def _answers(node: Node) -> Answers:
    return Answers(
        tuple(i.integer(least=0) for i in node.key("best").elements()),
        tuple(s.number() for s in node.key("score").elements()),
    )


def _golden(node: Node) -> GoldenSet:
    return GoldenSet(
        tuple(_golden_sample(child) for child in node.key("samples").elements()),
        node.key("tolerance").number(low=0.0, high=1.0),
        tuple(_trial(child) for child in node.key("trials").elements()),
    )


def _golden_sample(node: Node) -> GoldenSample:
    kind = node.key("kind")
    if kind.text() not in set(Kind):
        kind.refuse("is no kind of golden sample")
    figures = (node.key(name).number() for name in ("lead", "score_noise", "lead_noise"))
    index, rival = node.key("index").integer(least=0), node.key("rival").text()
    return GoldenSample(index, Kind(kind.text()), rival, *figures)


def _trial(node: Node) -> Trial:
    said = node.key("said")
    answers = [answer.mapping() for answer in said.key("answers").elements()]
    good = node.key("good").value
    return Trial(node.key("name").text(), good is True, Said(answers, said.key("refusal").text()))
