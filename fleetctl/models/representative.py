"""Which training samples show the int8 converter and quantization-aware training each layer's range."""

import numpy as np

from fleetctl.errors import BuildError
from fleetctl.manifest.schema import Quantization, RepresentativeSource
from fleetctl.models.samples import Samples, is_drawn


def choose(samples: Samples, quantization: Quantization, *, seed: int) -> Samples:
    """`quantization.representative` samples of `quantization.source`, or all where there are fewer.

    Signs take turns: each gives one sample before any gives two. A range has to hold the extremes of every
    sign, and the frequent ones would crowd out the others. Which of a sign's samples come is a function of
    `seed` and of the samples' names.

    Raises:
        BuildError: the source has no sample to learn from.
    """
    of_source = [i for i in range(len(samples)) if _is_of(samples.names[i], quantization.source)]
    if not of_source:
        raise BuildError(
            f"`quantization.source` is {quantization.source}, and there are none among the "
            f"{len(samples)} training samples",
            hint="use `source: all`, or give the dataset such samples",
        )
    by_sign: dict[str, list[int]] = {}
    for index in sorted(of_source, key=samples.names.__getitem__):
        by_sign.setdefault(samples.labels[index], []).append(index)
    rng = np.random.default_rng(seed)
    turns = [
        (turn, sign, index)
        for sign in sorted(by_sign)
        for turn, index in enumerate(rng.permutation(by_sign[sign]).tolist())
    ]
    # Where the last turn is cut off, it is not the alphabet that decides who is left out.
    signs = rng.permutation(sorted(by_sign)).tolist()
    turns.sort(key=lambda entry: (entry[0], signs.index(entry[1])))
    return samples.pick(index for _, _, index in turns[: quantization.representative])


def _is_of(name: str, source: RepresentativeSource) -> bool:
    match source:
        case RepresentativeSource.ALL:
            return True
        case RepresentativeSource.PHOTOS:
            return not is_drawn(name)
        case RepresentativeSource.RENDERED:
            return is_drawn(name)
