"""The numbers of a model card, computed from what a variant answered. Pure; imports nothing heavy."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from fleetctl.models.card.record import Answers

BINS = 10  # of the reliability plot
THRESHOLDS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

_CODE = re.compile(r"([A-Za-z]+)(\d+)(.*)")


class ClassFigures(Struct, frozen=True):
    """One sign: how many samples, how many of them read rightly, and how many answers named it."""

    sign: str
    samples: int
    right: int
    answered: int

    @property
    def recall(self) -> float | None:
        """None of a sign without samples."""
        return self.right / self.samples if self.samples else None

    @property
    def precision(self) -> float | None:
        """None of a sign that was never answered."""
        return self.right / self.answered if self.answered else None


class Bin(Struct, frozen=True):
    """Answers with a score in [low, high): how many, their mean score, and the fraction that is right."""

    low: float
    high: float
    count: int
    score: float
    accuracy: float


class Rejection(Struct, frozen=True):
    """What remains at a threshold: the fraction still answered, and how many of those are right (0 to 1).

    `wrong_rejected` is the fraction of wrong answers that the threshold keeps back. None: of nothing.
    """

    threshold: float
    answered: float
    accuracy: float | None
    wrong_rejected: float | None


def in_order(signs: Iterable[str]) -> list[str]:
    """Gardiner's order: A1, A2, ..., A10, ..., Z11, Aa1; anything else after that, by name."""
    return sorted(signs, key=_place)


def _place(sign: str) -> tuple[int, str, int, str]:
    match = _CODE.fullmatch(sign)
    if match is None:
        return 2, sign, 0, ""
    group, number, rest = match.groups()
    return int(group == "Aa"), group, int(number), rest


def by_class(truth: Sequence[str], answers: Answers, labels: Sequence[str]) -> list[ClassFigures]:
    """Every sign that was shown or answered, worst recall first; among equals the one with more samples."""
    answered = [labels[i] for i in answers.best]
    samples, named = Counter(truth), Counter(answered)
    right = Counter(t for t, a in zip(truth, answered, strict=True) if t == a)
    rows = [
        ClassFigures(sign, samples[sign], right[sign], named[sign]) for sign in in_order({*samples, *named})
    ]
    return sorted(rows, key=lambda row: (1.0 if row.recall is None else row.recall, -row.samples))


def confusions(truth: Sequence[str], answers: Answers, labels: Sequence[str]) -> list[tuple[str, str, int]]:
    """Each (sign, taken for, how often), most frequent first."""
    pairs = Counter((t, labels[i]) for t, i in zip(truth, answers.best, strict=True) if t != labels[i])
    ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return [(sign, taken, count) for (sign, taken), count in ordered]


def matrix(
    truth: Sequence[str], answers: Answers, labels: Sequence[str]
) -> tuple[list[str], NDArray[np.int64]]:
    """Signs in order, and counts (signs, signs): row the sign, column what it was taken for."""
    answered = [labels[i] for i in answers.best]
    signs = in_order({*truth, *answered})
    place = {sign: number for number, sign in enumerate(signs)}
    counts = np.zeros((len(signs), len(signs)), np.int64)
    for t, a in zip(truth, answered, strict=True):
        counts[place[t], place[a]] += 1
    return signs, counts


def reliability(truth: Sequence[str], answers: Answers, labels: Sequence[str]) -> list[Bin]:
    """Answers by score, in `BINS` bins of equal width; empty ones are left out."""
    right, score = _right(truth, answers, labels), np.array(answers.score)
    place = np.minimum((score * BINS).astype(int), BINS - 1)
    return [
        Bin(
            k / BINS,
            (k + 1) / BINS,
            int((place == k).sum()),
            float(score[place == k].mean()),
            float(right[place == k].mean()),
        )
        for k in range(BINS)
        if (place == k).any()
    ]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error (Naeini et al., AAAI 2015): mean distance of score and accuracy."""
    total = sum(part.count for part in bins)
    return sum(part.count * abs(part.score - part.accuracy) for part in bins) / total if total else 0.0


def rejections(truth: Sequence[str], answers: Answers, labels: Sequence[str]) -> list[Rejection]:
    """What each threshold does, if answers with a lower score are called UNKNOWN."""
    right, score = _right(truth, answers, labels), np.array(answers.score)
    wrong = int((~right).sum())
    rows = []
    for threshold in THRESHOLDS:
        kept = score >= threshold
        accuracy = float(right[kept].mean()) if kept.any() else None
        rejected = int((~right & ~kept).sum()) / wrong if wrong else None
        rows.append(Rejection(threshold, float(kept.mean()), accuracy, rejected))
    return rows


def _right(truth: Sequence[str], answers: Answers, labels: Sequence[str]) -> NDArray[np.bool_]:
    return np.array([labels[i] == t for i, t in zip(answers.best, truth, strict=True)], bool)
