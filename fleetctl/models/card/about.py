"""What a model is and what it was made of: its use, data, recipe, files and sources."""

from collections.abc import Mapping
from typing import Any

from msgspec import to_builtins

from fleetctl.manifest.schema import (
    ArchiveDataset,
    FolderDataset,
    Font,
    Head,
    RenderedDataset,
    Task,
    WallsDataset,
    Weights,
)
from fleetctl.models.card.markdown import percent, table
from fleetctl.models.card.subject import Subject
from fleetctl.models.dataset_digest import fonts_of

_FONTS = {
    Font.NOTO: "Noto Sans Egyptian Hieroglyphs, under the SIL Open Font License 1.1, or what stood for it",
    Font.NEWGARDINER: "NewGardiner by Mark-Jan Nederhof, under the SIL Open Font License 1.1",
    Font.AEGYPTUS: "Aegyptus by George Douros, free for any use",
}


def head(subject: Subject) -> list[str]:
    model, record = subject.model, subject.main_record
    kind = "reads single hieroglyphs" if model.task is Task.CLASSIFICATION else "finds hieroglyphs on walls"
    lines = [f"# {model.name}", "", f"A network that {kind}: {_architecture(subject)}."]
    metrics = subject.locked.variants[subject.main].metrics
    if record.detection:
        lines += [
            "",
            f"Of {record.detection['n']:,} signs on scenes kept out of training, the `{subject.main}` "
            f"variant ({metrics.size / 1024:,.0f} KiB) finds **{percent(metrics.top1)}**.",
        ]
    if record.answers:
        lines += [
            "",
            f"Of {metrics.samples} samples{_unseen(subject)}, the `{subject.main}` variant "
            f"({metrics.size / 1024:,.0f} KiB) reads **{percent(metrics.top1)}** rightly. "
            f"{len(subject.measured.labels)} signs were taught.",
        ]
    return lines


def intended_use(subject: Subject) -> list[str]:
    what = (
        "crops of one sign each, as the detector or a person cuts them out. A photo of something else gets "
        "the name of some sign all the same: boards say UNKNOWN where the score lies under `threshold`"
        if subject.model.task is Task.CLASSIFICATION
        else "photos of walls and plates. It says where signs are; which sign it is, a reader says better"
    )
    return [
        "## Intended use",
        "",
        f"For {what}. It is taught the signs listed at the end and no others; it is no substitute for an "
        "epigrapher's reading, and was measured on the data below only.",
    ]


def artifacts(subject: Subject) -> list[str]:
    rows = [
        [f"`{name}`", f"`{locked.artifact.digest}`", f"`{locked.artifact.files['model.tflite'].sha256[:16]}`"]
        for name, locked in subject.locked.variants.items()
    ]
    return ["## Artifacts", "", *table(["variant", "artifact", "model.tflite"], rows)]


def data(subject: Subject) -> list[str]:
    described = subject.measured.data
    photos, drawn, kept = (
        sum(getattr(count, part) for count in described.counts.values())
        for part in ("photos", "drawn", "evaluation")
    )
    unseen = [
        s for s, count in described.counts.items() if count.evaluation and s not in subject.measured.labels
    ]
    rows = [
        ["learnt from", f"{photos:,}", f"{drawn:,}", f"`{described.train}`"],
        ["evaluated on", f"{kept:,}", "0", f"`{described.evaluation}`"],
    ]
    if isinstance(subject.model.dataset, RenderedDataset):
        rows[1][1:3] = ["0", f"{kept:,}"]
    lines = ["## Data", "", *table(["part", "photos", "drawings", "sha256"], rows), "", _source(subject)]
    if unseen:
        lines += ["", f"Evaluated, and never taught, so that they count as errors: {', '.join(unseen)}."]
    return [
        *lines,
        "",
        "Counts of each sign are in the last table. Digests are over names, labels and pixels.",
    ]


def recipe(subject: Subject) -> list[str]:
    model = subject.model
    settings: dict[str, Any] = {
        "architecture": _plain(to_builtins(model.architecture)),
        "training": _plain(to_builtins(model.training)),
        "quantization": _plain(to_builtins(model.quantization)),
        "dataset seed": model.dataset.seed,
        "input digest": subject.locked.input_digest,
    }
    rows = [[name, f"`{value}`"] for name, value in settings.items()]
    tools = ", ".join(f"{name} {version}" for name, version in sorted(subject.locked.toolchain.items()))
    return [
        "## Recipe",
        "",
        *table(["what", "value"], rows),
        "",
        f"Built with {tools}. The same recipe on the same machine gives the same bytes, and this card.",
    ]


def licence(subject: Subject) -> list[str]:
    lines = ["## Sources and licences", "", f"- {_source(subject)}"]
    if any(count.drawn for count in subject.measured.data.counts.values()):
        lines.append(
            "- Drawn signs: outlines of fonts of the build host, whose digests are among its tools: "
            + "; ".join(_FONTS[font] for font in fonts_of(subject.model.dataset))
            + "."
        )
    if subject.model.architecture.weights is Weights.IMAGENET:
        lines.append("- It starts from weights learnt on ImageNet, whose pictures are for research use.")
    return lines


def _unseen(subject: Subject) -> str:
    both = subject.measured.data.shared
    return f", of which it has learnt {both}" if both else " kept out of training"


def _architecture(subject: Subject) -> str:
    architecture = subject.model.architecture
    size = "x".join(str(side) for side in architecture.input)
    end = (
        ", with a logistic regression as its last layer"
        if architecture.head is Head.LOGISTIC_REGRESSION
        else ""
    )
    start = " from ImageNet weights" if architecture.weights is Weights.IMAGENET else ""
    several = f"{architecture.members} times " if architecture.members > 1 else ""
    return f"{several}{architecture.name}{start}, input {size} (height, width, channels){end}"


def _plain(settings: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {{{_plain(value)}}}" if isinstance(value, dict) else f"{name} {_text(value)}"
        for name, value in settings.items()
    )


def _text(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _source(subject: Subject) -> str:
    match subject.model.dataset:
        case RenderedDataset(samples_per_sign=each):
            return f"Signs drawn from a hieroglyph font as if carved in stone, {each} of each."
        case ArchiveDataset(sha256=digest):
            return f"An archive of photos with sha256 `{digest}`. Its licence is not known to the build."
        case FolderDataset(path=path):
            return f"Photos of the folder `{path.name}`. Their licence is not known to the build."
        case WallsDataset(plates=plates):
            real = f", and the photos of plates in `{plates.name}`" if plates else ""
            return f"Walls composed from signs over stone{real}. Their licence is not known to the build."
