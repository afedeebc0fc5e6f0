"""A card as files: `card.md` and its plots, a pure function of the subject."""

from fleetctl.models.card import figures, plots
from fleetctl.models.card.files import CARD, CONFUSION, RELIABILITY
from fleetctl.models.card.mark import mark
from fleetctl.models.card.sections import SECTIONS
from fleetctl.models.card.subject import Subject


def write(subject: Subject) -> dict[str, bytes]:
    """File name -> bytes of a model's card.

    Raises:
        ToolchainMissing: matplotlib or the flatbuffer reader is not installed.
    """
    blocks = ["\n".join(lines) for section in SECTIONS if (lines := section(subject))]
    text = "\n\n".join([*blocks, mark(subject.model, subject.locked)]) + "\n"
    return {CARD: text.encode(), **_plots(subject)}


def _plots(subject: Subject) -> dict[str, bytes]:
    answers, truth, labels = subject.main_record.answers, subject.measured.truth, subject.measured.labels
    if answers is None:
        return {}
    bins = figures.reliability(truth, answers, labels)
    return {
        CONFUSION: plots.confusion_png(*figures.matrix(truth, answers, labels)),
        RELIABILITY: plots.reliability_png(bins, figures.calibration_error(bins)),
    }
