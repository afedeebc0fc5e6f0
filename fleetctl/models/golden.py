"""Choosing the golden samples: photos whose answer a healthy board cannot get wrong."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fleetctl.errors import BuildError
from fleetctl.models.samples import Samples

# Between the first and the second score. The same int8 model differs by up to 17/255 between processors.
_MARGIN = 0.25


def of_one_size(samples: Samples) -> Samples:
    """The samples that have the commonest size: golden samples travel as one array."""
    if not len(samples):
        raise BuildError("there are no samples to choose golden ones from")
    sizes = Counter(image.shape for image in samples.images)
    common = max(sizes, key=lambda size: (sizes[size], size))
    return samples.pick(i for i, image in enumerate(samples.images) if image.shape == common)


def choose(
    truth: Sequence[str],
    labels: Sequence[str],
    scored: Sequence[NDArray[np.float32]],
    *,
    count: int,
    seed: int,
) -> list[int]:
    """Indices of up to `count` samples, over as many signs as there are.

    First those that every model answers rightly and by a margin, one of each sign in turn, in a seeded order;
    if they do not suffice, the others by falling confidence of all models together.

    Args:
        truth: label of each sample.
        scored: scores (samples, labels) of each model that has to agree: float32 and the variant, say.
    """
    sure = _sure(truth, labels, scored)
    chosen = _round_robin([i for i in range(len(truth)) if sure[i]], truth, seed)[:count]
    if len(chosen) < count:
        confidence = np.min([rows.max(axis=1) for rows in scored], axis=0)
        rest = sorted(set(range(len(truth))) - set(chosen), key=lambda i: (-confidence[i], i))
        chosen += rest[: count - len(chosen)]
    return sorted(chosen)


def _sure(
    truth: Sequence[str], labels: Sequence[str], scored: Sequence[NDArray[np.float32]]
) -> NDArray[np.bool_]:
    sure = np.ones(len(truth), bool)
    for rows in scored:
        ordered = np.sort(rows, axis=1)
        right = np.array([labels[i] for i in rows.argmax(axis=1)]) == np.array(truth)
        sure &= right & (ordered[:, -1] - ordered[:, -2] >= _MARGIN)
    return sure


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
