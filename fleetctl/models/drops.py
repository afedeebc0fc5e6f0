"""How much worse a variant reads than float32, sign by sign."""

from typing import TYPE_CHECKING

from fleetctl.lockfile import ClassDrop
from fleetctl.manifest.buildable import MIN_CLASS_SAMPLES

if TYPE_CHECKING:
    from fleetctl.models.evaluate import Evaluation


def worst_class(evaluation: "Evaluation", reference: "Evaluation") -> ClassDrop | None:
    """The sign whose recall fell most, of those with enough samples to tell; None where no sign has.

    Both evaluations are of the same samples.
    """
    drops = (
        ClassDrop(sign, (reference.per_class[sign][1] - right) / n)
        for sign, (n, right) in evaluation.per_class.items()
        if n >= MIN_CLASS_SAMPLES
    )
    return max(drops, key=lambda drop: (drop.drop, drop.label), default=None)
