"""How well a detector finds signs, and names those that it finds."""

from collections.abc import Mapping
from typing import Any

from fleetctl.models.card import figures
from fleetctl.models.card.markdown import percent, table
from fleetctl.models.card.subject import Subject

_EXPLAINED = (
    "A box is found where a detection overlaps it by an IoU of 0.5, whatever sign it is taken for. *Wrong* "
    "are detections on bare stone, on parts of signs, and second ones of a sign; *unjudged* are those where "
    "nobody has said what is there. mAP is at IoU 0.5, over the signs that were boxed."
)


def detection(subject: Subject) -> list[str]:
    """Every variant's figures, then each sign of the variant that stands for the model, worst first."""
    found = {
        name: record.detection
        for name, record in subject.measured.variants.items()
        if record.detection is not None
    }
    if not found:
        return []
    columns = ["variant", "boxes", "recall", "precision", "wrong", "unjudged", "named rightly", "mAP"]
    rows = [_row(name, said) for name, said in found.items()]
    lines = ["## Detection", "", _EXPLAINED, "", *table(columns, rows)]
    main = subject.main_record.detection
    return lines if main is None else [*lines, "", *_signs(subject.main, main["per_class"])]


def _row(name: str, said: Mapping[str, Any]) -> list[str]:
    return [
        f"`{name}`",
        f"{said['n']:,}",
        percent(said["found"] / max(1, said["n"])),
        percent(said["found"] / max(1, said["found"] + said["wrong"])),
        f"{said['wrong']:,}",
        f"{said['unjudged']:,}",
        percent(said["read"] / max(1, said["named"])),
        percent(said["map50"]),
    ]


def _signs(variant: str, per_class: Mapping[str, Mapping[str, Any]]) -> list[str]:
    ordered = [(sign, per_class[sign]) for sign in figures.in_order(per_class)]
    worst = sorted(ordered, key=lambda item: (item[1]["found"] / max(1, item[1]["n"]), -item[1]["n"]))
    rows = [
        [
            sign,
            str(said["n"]),
            percent(said["found"] / max(1, said["n"]), 0),
            percent(said["read"] / said["found"] if said["found"] else None, 0),
            percent(said["average_precision"]),
        ]
        for sign, said in worst
    ]
    columns = ["sign", "boxes", "recall", "named rightly", "average precision"]
    return [f"### Every sign, worst first (`{variant}`)", "", *table(columns, rows)]
