"""Models as they are locked, and their cards as HTML."""

import re
from pathlib import Path

from fleetctl.errors import FleetError
from fleetctl.lockfile import FleetLock, read
from fleetctl.models.card.files import CARD
from fleetctl.project import Project

_PICTURE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,80}\.png")
_IMAGE = re.compile(r'<img src="([^"]*)"')


def locked(project: Project) -> FleetLock:
    """The lock; an empty one where it is absent or cannot be read."""
    try:
        return read(project.lockfile)
    except FleetError:
        return FleetLock()


def card_html(project: Project, model: str) -> str | None:
    """The card of a model, raw HTML in it shown as text, pictures from the dashboard; None without a card."""
    from markdown_it import MarkdownIt

    path = project.artifacts / model / CARD
    if not path.is_file():
        return None
    html = (
        MarkdownIt("commonmark", {"html": False}).enable("table").render(path.read_text("utf-8", "replace"))
    )
    return _IMAGE.sub(lambda found: f'<img src="/models/{model}/files/{Path(found[1]).name}"', html)


def card_picture(project: Project, model: str, name: str) -> bytes | None:
    """A picture of a card; None where there is none of that name."""
    path = project.artifacts / model / name
    return path.read_bytes() if _PICTURE.fullmatch(name) and path.is_file() else None
