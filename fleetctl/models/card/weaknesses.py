"""Where a model fails, computed from its answers: nobody has to remember to write it down."""

from collections.abc import Iterator

from fleetctl.manifest.schema import VariantName
from fleetctl.models.card import figures
from fleetctl.models.card.markdown import some
from fleetctl.models.card.subject import Subject
from fleetctl.models.golden import INTEGER_TOLERANCE, tolerance_floor
from fleetctl.models.margins import margin


def weaknesses(subject: Subject) -> list[str]:
    found = list(_weaknesses(subject))
    return ["## Known weaknesses", "", *(f"- {line}" for line in found)] if found else []


def _weaknesses(subject: Subject) -> Iterator[str]:
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
