"""Where a model fails, computed from its answers: nobody has to remember to write it down."""

from collections.abc import Iterable, Iterator

from fleetctl.manifest.schema import Model, VariantName
from fleetctl.models.card import figures
from fleetctl.models.card.markdown import some
from fleetctl.models.card.record import Measurements
from fleetctl.models.card.subject import Subject
from fleetctl.models.golden import INTEGER_TOLERANCE, MIN_LEAD, tolerance_floor
from fleetctl.models.margins import margin


def weaknesses(subject: Subject) -> list[str]:
    found = list(_weaknesses(subject))
    return ["## Known weaknesses", "", *(f"- {line}" for line in found)] if found else []


def doubts(model: Model, measured: Measurements, variants: Iterable[str]) -> Iterator[str]:
    """What makes the measurements less than they seem: whoever builds is told at once, too."""
    if measured.data.shared:
        evaluated = sum(count.evaluation for count in measured.data.counts.values())
        yield (
            f"{measured.data.shared} of the {evaluated} samples it is measured on are among those it "
            "has learnt from: it reads others worse"
        )
    for name in variants:
        golden = measured.variants[name].golden
        if golden is None:
            continue
        if len(golden.samples) < model.smoke.samples:
            yield (
                f"`{name}`: boards prove a release by {len(golden.samples)} golden samples instead of "
                f"{model.smoke.samples}: there are no more to evaluate on"
            )
        close = sum(sample.lead < MIN_LEAD for sample in golden.samples)
        if close:
            yield (
                f"`{name}`: the answer to {close} of {len(golden.samples)} golden samples leads by less than "
                f"{MIN_LEAD}: a healthy board may answer otherwise and be rolled back"
            )


def _weaknesses(subject: Subject) -> Iterator[str]:
    for doubt in doubts(subject.model, subject.measured, subject.locked.variants):
        yield f"{doubt}."
    counts = subject.measured.data.counts
    drawn_only = [s for s, c in counts.items() if c.drawn and not c.photos and s in subject.measured.labels]
    if drawn_only and any(c.photos for c in counts.values()):
        yield f"{len(drawn_only)} signs were learnt from drawings only: {some(figures.in_order(drawn_only))}."
    if not any(count.photos for count in counts.values()):
        yield "It has learnt from drawings only: on photos of real walls it reads far fewer signs."
    yield from _weak_answers(subject)
    for name in subject.locked.variants:
        yield from _unnoticed(subject, name)


def _weak_answers(subject: Subject) -> Iterator[str]:
    answers = subject.main_record.answers
    if answers is None:
        return
    truth, labels = subject.measured.truth, subject.measured.labels
    rows = [row for row in figures.by_class(truth, answers, labels) if row.samples]
    never = [row.sign for row in rows if not row.right]
    if never:
        yield f"{len(never)} signs were never read rightly: {some(never)}."
    weak = [f"{r.sign} ({r.right} of {r.samples})" for r in rows if r.right and r.right < 0.7 * r.samples]
    if weak:
        yield f"Weak signs: {some(weak)}."
    few = [row for row in rows if row.samples < 5]
    if few:
        yield f"{len(few)} of {len(rows)} signs have under 5 evaluation samples: their recall says little."
    pairs = [f"{t} read as {s} ({n})" for t, s, n in figures.confusions(truth, answers, labels) if n > 1]
    if pairs:
        yield f"Mistaken for another more than once: {some(pairs)}."
    sure = sum(
        labels[i] != t and s >= 0.9 for i, s, t in zip(answers.best, answers.score, truth, strict=True)
    )
    if sure:
        yield f"{sure} wrong answers have a score of 0.9 or more: no threshold keeps them back."


def _unnoticed(subject: Subject, name: str) -> Iterator[str]:
    record, contract = subject.measured.variants[name], subject.contracts[name]
    if record.golden is None:
        return
    for tried in record.golden.trials:
        said = margin(tried, contract, subject.model.smoke.min_agreement)
        if said.passed is not tried.good:
            what = "a good release would be refused" if tried.good else "a bad release would pass"
            yield f"`{name}`: the golden answers are not enough, {what}: {tried.name}."
    floor = tolerance_floor(VariantName(name))
    if record.golden.tolerance > floor:
        kinds = "integer" if floor == INTEGER_TOLERANCE else "float"
        yield (
            f"`{name}`: kernels of the build host are further apart than usual for {kinds} models, so that "
            f"the score tolerance is {record.golden.tolerance:.3f} instead of {floor:.2f}."
        )
