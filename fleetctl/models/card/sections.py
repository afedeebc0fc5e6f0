"""The sections of a model card, in order. Each takes the subject and gives its lines, or none."""

from collections.abc import Callable

from fleetctl.models.card.about import artifacts, data, head, intended_use, licence, recipe
from fleetctl.models.card.accuracy import accuracy, by_sign, quantization, rejection
from fleetctl.models.card.detection import detection
from fleetctl.models.card.operations import operations
from fleetctl.models.card.proof import golden
from fleetctl.models.card.subject import Subject
from fleetctl.models.card.weaknesses import weaknesses

Section = Callable[[Subject], list[str]]

SECTIONS: tuple[Section, ...] = (
    head,
    intended_use,
    artifacts,
    data,
    recipe,
    accuracy,
    detection,
    rejection,
    quantization,
    operations,
    golden,
    weaknesses,
    licence,
    by_sign,
)
