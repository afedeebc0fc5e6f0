"""Which build a card is about, and whether it is today's: a line at its end, which Markdown does not show.

Looked at by every build, so nothing heavy is imported here.
"""

import re
from pathlib import Path

from fleetctl.lockfile import LockedModel, model_json
from fleetctl.manifest.schema import Model
from fleetctl.models.card.files import CARD
from fleetctl.store import canonical_json, sha256

LAYOUT = 1
"""Raised whenever the same measurements make another card."""

_LINK = re.compile(r"!\[[^\]]*\]\(([\w.-]+)\)")


def mark(model: Model, locked: LockedModel) -> str:
    """The line that names what a card is a function of; the input digest in it stands for the measurements.

    Gates are no part of it: judging a model again changes nothing about it.
    """
    said = {"layout": LAYOUT, "locked": model_json(locked), "min_agreement": model.smoke.min_agreement}
    return f"<!-- fleetctl.card/v1 {sha256(canonical_json(said))} -->"


def is_current(folder: Path, model: Model, locked: LockedModel) -> bool:
    """Whether the card in `folder` has its plots beside it and describes the model as it is locked."""
    try:
        text = (folder / CARD).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    whole = all((folder / name).is_file() for name in _LINK.findall(text))
    return whole and mark(model, locked) in text.splitlines()
