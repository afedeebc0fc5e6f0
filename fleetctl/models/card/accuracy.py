"""How well a reader does: overall, by sign, by threshold, and what quantization costs it."""

from fleetctl.models.card import figures
from fleetctl.models.card.files import CONFUSION, RELIABILITY
from fleetctl.models.card.markdown import MOST, percent, table
from fleetctl.models.card.record import VariantRecord
from fleetctl.models.card.subject import Subject


def accuracy(subject: Subject) -> list[str]:
    answers, truth, labels = subject.main_record.answers, subject.measured.truth, subject.measured.labels
    if answers is None:
        return []
    rows = figures.by_class(truth, answers, labels)
    shown = [row for row in rows if row.samples]
    taught = [row for row in shown if row.sign in labels]
    right, seen = sum(row.right for row in shown), sum(row.samples for row in taught)
    error = figures.calibration_error(figures.reliability(truth, answers, labels))
    numbers = [
        ["samples", f"{len(truth)}", f"{seen}"],
        ["top-1", percent(right / len(truth)), percent(right / seen) if seen else "-"],
        ["mean recall of signs", percent(_mean(shown)), percent(_mean(taught)) if taught else "-"],
        ["signs", f"{len(shown)}", f"{len(taught)}"],
        [
            "signs always read rightly",
            f"{sum(r.recall == 1 for r in shown)}",
            f"{sum(r.recall == 1 for r in taught)}",
        ],
    ]
    return [
        f"## Accuracy of `{subject.main}`",
        "",
        *table(["what", "all", "signs it was taught"], numbers),
        "",
        f"Expected calibration error: {percent(error)} ({figures.BINS} bins). Where it is large, scores are "
        "no probabilities to rely on.",
        "",
        f"![How often answers are right, by score]({RELIABILITY})",
        "",
        "### What is taken for what",
        "",
        f"![Confusion matrix]({CONFUSION})",
        "",
        *_confusions(subject),
    ]


def rejection(subject: Subject) -> list[str]:
    answers = subject.main_record.answers
    if answers is None:
        return []
    rows = [
        [f"{row.threshold:.1f}", percent(row.answered), percent(row.accuracy), percent(row.wrong_rejected)]
        for row in figures.rejections(subject.measured.truth, answers, subject.measured.labels)
    ]
    return [
        "## Saying UNKNOWN",
        "",
        "What a board's `threshold` does: answers with a lower score are called UNKNOWN.",
        "",
        *table(["threshold", "answered", "of these right", "wrong answers kept back"], rows),
    ]


def quantization(subject: Subject) -> list[str]:
    float32 = subject.measured.variants.get("float32")
    rows = []
    if float32 and "float32" not in subject.locked.variants and float32.answers:
        top1 = percent(_top1(subject, float32))
        rows.append(["`float32` (not released)", f"{float32.size / 1024:,.0f} KiB", top1, "-", "-"])
    for name, locked in subject.locked.variants.items():
        metrics, worst = locked.metrics, locked.metrics.worst_class
        rows.append(
            [
                f"`{name}`",
                f"{metrics.size / 1024:,.0f} KiB",
                percent(metrics.top1),
                f"{100 * metrics.drop:+.1f}",
                f"{worst.label} {100 * worst.drop:+.1f}" if worst and worst.drop > 0 else "-",
            ]
        )
    columns = ["variant", "size", "accuracy", "drop (points)", "worst sign (points)"]
    return ["## Quantization", "", "Drops are against float32.", "", *table(columns, rows)]


def by_sign(subject: Subject) -> list[str]:
    answers = subject.main_record.answers
    if answers is None:
        return []
    counts, columns = (
        subject.measured.data.counts,
        ["sign", "photos", "drawings", _evaluated(subject), "recall", "precision"],
    )
    float32 = subject.measured.variants.get("float32")
    reference = _recalls(subject, float32) if float32 and subject.main != "float32" else {}
    rows = []
    measured = figures.by_class(subject.measured.truth, answers, subject.measured.labels)
    known = {row.sign for row in measured}
    for row in measured:
        count = counts.get(row.sign)
        learnt = [str(count.photos), str(count.drawn)] if count else ["0", "0"]
        figures_ = [percent(row.recall, 0), *([percent(reference.get(row.sign), 0)] if reference else [])]
        rows.append([row.sign, *learnt, str(row.samples), *figures_, percent(row.precision, 0)])
    if reference:
        columns.insert(5, "by float32")
    rest = [sign for sign in figures.in_order(counts) if sign not in known]
    lines = [f"## Every sign, worst first (`{subject.main}`)", "", *table(columns, rows)]
    if rest:
        lines += ["", f"Taught and not evaluated, for want of samples: {', '.join(rest)}."]
    return lines


def _evaluated(subject: Subject) -> str:
    return "evaluated" if subject.measured.data.shared else "kept out"


def _mean(rows: list[figures.ClassFigures]) -> float:
    recalls = [row.recall for row in rows if row.recall is not None]
    return sum(recalls) / len(recalls) if recalls else 0.0


def _top1(subject: Subject, record: VariantRecord) -> float:
    assert record.answers
    labels, truth = subject.measured.labels, subject.measured.truth
    right = sum(labels[i] == t for i, t in zip(record.answers.best, truth, strict=True))
    return right / len(truth)


def _recalls(subject: Subject, record: VariantRecord) -> dict[str, float | None]:
    if record.answers is None:
        return {}
    rows = figures.by_class(subject.measured.truth, record.answers, subject.measured.labels)
    return {row.sign: row.recall for row in rows}


def _confusions(subject: Subject) -> list[str]:
    answers = subject.main_record.answers
    assert answers
    pairs = figures.confusions(subject.measured.truth, answers, subject.measured.labels)
    counts = subject.measured.data.counts
    if not pairs:
        return ["Nothing is misread."]
    rows = [[sign, taken, str(n), str(counts[sign].evaluation)] for sign, taken, n in pairs[:MOST]]
    more = [] if len(pairs) <= MOST else ["", f"And {len(pairs) - MOST} more pairs."]
    return [*table(["sign", "taken for", "times", "of"], rows), *more]
