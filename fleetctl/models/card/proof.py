"""The golden answers: what each sample is for, how safe it is, and by how much bad releases are refused."""

from fleetctl.models.card.markdown import table
from fleetctl.models.card.subject import Subject
from fleetctl.models.margins import Margin, margin

_GOLDEN = (
    "What a board must answer before it may keep a release. *Lead* is that of the best score over the next; "
    "*noise* is how far kernels that compute the same graph moved either on the build host; one gives the "
    "very scores of an arm64 board. The bad releases were made from this very model, and judged by the "
    "code that boards run; *budget* is the largest difference of an agreeing score, in tolerances."
)


def golden(subject: Subject) -> list[str]:
    blocks = [_golden_of(subject, name) for name in subject.locked.variants]
    lines = [line for block in blocks for line in block]
    return ["## Golden answers", "", _GOLDEN, *lines] if lines else []


def _golden_of(subject: Subject, name: str) -> list[str]:
    record, contract = subject.measured.variants[name], subject.contracts[name]
    if record.golden is None:
        return []
    rows = [
        [
            str(number),
            photo,
            answer["label"],
            sample.rival,
            sample.kind.value,
            f"{answer['score']:.3f}",
            f"{sample.lead:.3f}",
            f"{max(sample.score_noise, sample.lead_noise):.3f}",
            _ratio(sample.lead, max(sample.score_noise, sample.lead_noise)),
        ]
        for number, (photo, answer, sample) in enumerate(
            zip(record.names, contract["golden"], record.golden.samples, strict=True), 1
        )
    ]
    margins = [margin(tried, contract, subject.model.smoke.min_agreement) for tried in record.golden.trials]
    allowed = int((1 - subject.model.smoke.min_agreement) * len(rows) + 1e-9)
    return [
        "",
        f"### `{name}`",
        "",
        f"{len(rows)} samples, of which {allowed or 'none'} may disagree; score tolerance "
        f"{record.golden.tolerance:.3f}.",
        "",
        *table(["no", "sample", "answer", "next", "kind", "score", "lead", "noise", "lead / noise"], rows),
        "",
        *table(["release", "labels that differ", "budget", "judged"], [_trial_row(said) for said in margins]),
    ]


def _ratio(lead: float, noise: float) -> str:
    return f"{lead / noise:.0f}" if noise >= 1e-4 else "over 1000"


def _trial_row(said: Margin) -> list[str]:
    answered = f"{said.flipped} of {said.asked}" if said.asked else "no answer"
    budget = f"{said.apart:.2f}" if said.asked > said.flipped else "-"
    verdict = "passed" if said.passed else f"refused: {said.reason}"
    return [f"good: {said.trial.name}" if said.trial.good else said.trial.name, answered, budget, verdict]
