"""How much worse a variant reads than float32, sign by sign."""

from collections.abc import Mapping

from fleetctl.lockfile import ClassDrop
from fleetctl.manifest.buildable import MIN_CLASS_SAMPLES

Answers = Mapping[str, tuple[int, int]]  # of each sign: how many samples, and how many read or found


def worst_class(answered: Answers, reference: Answers) -> ClassDrop | None:
    """The sign whose recall fell most, of those with enough samples to tell; None where no sign has.

    Both are of the same samples.
    """
    drops = (
        ClassDrop(sign, (reference[sign][1] - right) / n)
        for sign, (n, right) in answered.items()
        if n >= MIN_CLASS_SAMPLES
    )
    return max(drops, key=lambda drop: (drop.drop, drop.label), default=None)
