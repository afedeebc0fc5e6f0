"""Choosing the golden samples: photos that every healthy board answers alike, and that bad releases do not.

Easy photos of many signs prove little: a reader whose preprocessing is wrong still gets them right. So there
are look-alike pairs, with as small a lead as the measured noise of healthy boards allows, photos at the ends
of the light, and one that the model is unsure of. What the set would miss of the known kinds of bad releases
is added last. docs/golden.md has the measurements behind the numbers here.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from fleetctl.device.preprocess import prepare
from fleetctl.errors import BuildError
from fleetctl.manifest.schema import VariantName
from fleetctl.models.kernels import Noise, lead
from fleetctl.models.samples import Grey, Samples

MIN_LEAD = 0.25
"""Of the best score over the second. No kernel moved a photo to another sign that led by more than 0.10."""

TOLERANCE = {VariantName.FLOAT32: 0.01, VariantName.FLOAT16: 0.02}
INTEGER_TOLERANCE = 0.12
"""How far a healthy board's score may lie from the golden one, at least. Float kernels were never more than
0.000004 apart; of integer ones, none moved a photo with such a lead by more than 0.113."""

UNSURE_BELOW = 0.5
"""A best score that a board with a threshold of this would call UNKNOWN."""

_QUIET = 1 / 3  # of the tolerance: as much as kernels of this host may use up of it
_POOL = 3  # candidates for each sample wanted
_LARGE = 16  # times the pixels of the network's input: more of them prove nothing, and every board gets them
_SHRUNK = 2  # times each side of it: enough for a board to have something to scale down
_EVIDENCE = 2  # golden samples that show a bad release, where there are so many


class Kind(StrEnum):
    """Why a sample is golden."""

    UNSURE = "unsure"
    DARK = "dark"
    BRIGHT = "bright"
    FLAT = "low contrast"
    LOOK_ALIKE = "look-alike"
    EASY = "easy"
    FILLER = "most confident"


class Candidate(Struct, frozen=True):
    """A sample that may become golden: its index among all samples, and why."""

    index: int
    kind: Kind


class Effect(Struct, frozen=True):
    """What one bad release does to each candidate: another label, or the same with another score.

    `flipped` bool (candidates,); `apart` float32 (candidates,), 0 where flipped.
    """

    flipped: NDArray[np.bool_]
    apart: NDArray[np.float32]

    def shows(self, tolerance: float) -> NDArray[np.bool_]:
        """Whether each candidate gives the bad release away."""
        return np.asarray(self.flipped | (self.apart > tolerance))


class Travelling(Struct, frozen=True):
    """Samples that golden ones are chosen from, in the one size that they travel in.

    `rows` are their indices among all samples. `altered`: they were scaled, and have to be scored anew.
    """

    rows: list[int]
    samples: Samples
    altered: bool


def tolerance_floor(variant: VariantName) -> float:
    """How far a healthy board's score may lie from the golden one, whatever is measured on this host."""
    return TOLERANCE.get(variant, INTEGER_TOLERANCE)


def tolerance(variant: VariantName, score_noise: NDArray[np.float32]) -> float:
    """The score tolerance of a golden set whose samples were seen to move by `score_noise`.

    Twice what is seen on this host, and never under what was once seen on all: a board may have kernels that
    this host lacks.
    """
    seen = float(score_noise.max(initial=0.0))
    return min(1.0, max(tolerance_floor(variant), float(np.ceil(2000 * seen)) / 1000))


def rows_of_one_size(samples: Samples) -> list[int]:
    """Indices of the samples that have the commonest size: golden samples travel as one array.

    Raises:
        BuildError: there is no sample.
    """
    if not len(samples):
        raise BuildError("there are no samples to choose golden ones from")
    sizes = Counter(image.shape for image in samples.images)
    common = max(sizes, key=lambda size: (sizes[size], size))
    return [i for i, image in enumerate(samples.images) if image.shape == common]


def travelling(samples: Samples, preprocess: Mapping[str, Any], *, count: int) -> Travelling:
    """What golden samples are chosen from: photos of the commonest size, where those are enough, and small.

    Golden samples travel as one array. Photos that people cut out have a size each, and those of a camera
    have megabytes: such are scaled to twice the network's input, fitted to its frame as the network's own
    preprocessing would fit them.

    Args:
        preprocess: of the network.
        count: how many golden samples are wanted.

    Raises:
        BuildError: there is no sample.
    """
    rows = rows_of_one_size(samples)
    height, width = (int(side) for side in preprocess["shape"][:2])
    enough = len(rows) == len(samples) or len(rows) >= _POOL * count
    if enough and samples.images[rows[0]].size <= _LARGE * height * width:
        return Travelling(rows, samples.pick(rows), altered=False)
    frame = {"shape": (_SHRUNK * height, _SHRUNK * width, 1), "fit": preprocess.get("fit", "contain")}
    images = [np.ascontiguousarray(prepare(image, frame)[:, :, 0]) for image in samples.images]
    scaled = Samples(images, samples.labels, samples.names)
    return Travelling(list(range(len(samples))), scaled, altered=True)


def candidates(
    samples: Samples, labels: Sequence[str], scored: Sequence[NDArray[np.float32]], *, count: int, seed: int
) -> list[Candidate]:
    """Three times as many samples as are wanted, each kind in the order of preference.

    They have a lead of `MIN_LEAD` in every model and are read rightly; only an unsure one may be read
    wrongly, if all models do so alike. Where such samples do not suffice, others follow by confidence.

    Args:
        scored: scores (samples, labels) of each model that has to agree: float32 and the variant, say.
    """
    agreed, right = _steady(samples.labels, labels, scored)
    sure = np.flatnonzero(agreed & right)
    score, leads = scored[-1].max(axis=1), lead(scored[-1], scored[-1].argmax(axis=1))
    light = [_light(samples.images[i]) for i in sure]
    few = max(2, count // 4)
    preferred = {
        Kind.UNSURE: _ranked(np.flatnonzero(agreed & (score < UNSURE_BELOW)), lambda i: score[i])[:few],
        Kind.DARK: [int(sure[k]) for k in _ranked(range(len(sure)), lambda k: light[k][0])[:few]],
        Kind.BRIGHT: [int(sure[k]) for k in _ranked(range(len(sure)), lambda k: -light[k][0])[:few]],
        Kind.FLAT: [int(sure[k]) for k in _ranked(range(len(sure)), lambda k: light[k][1])[:few]],
        Kind.LOOK_ALIKE: list(_pairs(_ranked(sure, lambda i: leads[i]), scored[-1]))[:count],
        Kind.EASY: _round_robin(sure.tolist(), samples.labels, seed),
        Kind.FILLER: _ranked(range(len(samples)), lambda i: -min(rows[i].max() for rows in scored)),
    }
    shares = _shares(count)
    found: dict[int, Candidate] = {}
    for kind, indices in preferred.items():
        if not shares.get(kind, 1):
            continue
        limit = count if kind is Kind.FILLER else _POOL * count
        for index in indices:
            if len(found) < limit:
                found.setdefault(index, Candidate(index, kind))
    return list(found.values())


def pick(
    pool: Sequence[Candidate], noise: Noise, effects: Sequence[Effect], *, count: int, floor: float
) -> list[int]:
    """Places in `pool` of up to `count` samples that together prove most; noisy ones only for want of others.

    Args:
        noise: of each candidate, over the kernels of this host.
        effects: of each kind of bad release, on each candidate.
        floor: the score tolerance that the set is to keep.
    """
    steady = (noise.score <= _QUIET * floor) & (noise.gap < MIN_LEAD / 2)
    quiet = np.flatnonzero(steady).tolist()
    chosen: list[int] = []
    for kind, share in _shares(count).items():
        chosen += [place for place in quiet if pool[place].kind is kind][:share]
    chosen += [place for place in quiet if pool[place].kind is Kind.EASY][: count - len(chosen)]
    rest = sorted(set(range(len(pool))) - set(chosen), key=lambda place: (place not in quiet, place))
    chosen += rest[: count - len(chosen)]
    return sorted(_revealing(chosen, pool, quiet, effects, floor))


def _shares(count: int) -> dict[Kind, int]:
    """How many of each kind; a small set has no room for corner cases."""
    one = int(count >= 8)
    return {
        Kind.UNSURE: one,
        Kind.DARK: one,
        Kind.BRIGHT: one,
        Kind.FLAT: one,
        Kind.LOOK_ALIKE: count // 4,
    }


def _revealing(
    chosen: list[int],
    pool: Sequence[Candidate],
    quiet: Sequence[int],
    effects: Sequence[Effect],
    tolerance: float,
) -> list[int]:
    """The set with easy samples exchanged for those that show a bad release which it would miss."""
    kept = list(chosen)
    for effect in effects:
        shows = effect.shows(tolerance)
        strength = np.where(effect.flipped, 2.0, effect.apart)
        spare = [p for p in quiet if p not in kept and shows[p] and pool[p].kind is not Kind.FILLER]
        for place in sorted(spare, key=lambda p: (-strength[p], p)):
            if shows[kept].sum() >= _EVIDENCE:
                break
            free = _replaceable(kept, pool, effects, tolerance)
            if free is None:
                break
            kept[kept.index(free)] = place
    return kept


def _replaceable(
    kept: Sequence[int], pool: Sequence[Candidate], effects: Sequence[Effect], tolerance: float
) -> int | None:
    """The last easy sample that no bad release needs to be shown."""
    for place in reversed(kept):
        if pool[place].kind is Kind.EASY and all(
            not shows[place] or shows[list(kept)].sum() > _EVIDENCE
            for shows in (effect.shows(tolerance) for effect in effects)
        ):
            return place
    return None


def _steady(
    truth: Sequence[str], labels: Sequence[str], scored: Sequence[NDArray[np.float32]]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where all models give one label, each with the wanted lead; and where that label is right."""
    best = scored[-1].argmax(axis=1)
    steady = np.ones(len(truth), bool)
    for rows in scored:
        steady &= lead(rows, best) >= MIN_LEAD
    return steady, np.array([labels[i] for i in best]) == np.array(truth)


def _light(image: Grey) -> tuple[float, float]:
    """Mean grey and the range that nine tenths of the pixels lie in, both in grey levels."""
    low, high = np.quantile(image, (0.05, 0.95))
    return float(image.mean()), float(high - low)


def _pairs(indices: Iterable[int], scores: NDArray[np.float32]) -> Iterator[int]:
    """The first of `indices` for each pair of best and second label."""
    seen: set[tuple[int, int]] = set()
    for index in indices:
        second, first = (int(label) for label in np.argsort(scores[index], kind="stable")[-2:])
        if (first, second) not in seen:
            seen.add((first, second))
            yield int(index)


def _ranked(indices: Iterable[int], key: Callable[[int], float]) -> list[int]:
    return sorted((int(i) for i in indices), key=lambda i: (float(key(i)), i))


def _round_robin(indices: list[int], truth: Sequence[str], seed: int) -> list[int]:
    """One of each sign, then a second of each, and so on; signs and samples in a seeded order."""
    rng = np.random.default_rng(seed)
    turn: Counter[str] = Counter()
    keyed = []
    rank = {
        sign: int(place) for place, sign in enumerate(rng.permutation(sorted({truth[i] for i in indices})))
    }
    for i in rng.permutation(indices).tolist():
        keyed.append((turn[truth[i]], rank[truth[i]], i))
        turn[truth[i]] += 1
    return [i for _, _, i in sorted(keyed)]
