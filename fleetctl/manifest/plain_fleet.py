"""A fleet as JSON and back, for a manifest that need not be read again.

What is written is read by the very same code, or not at all: `remembered` sees to that.
"""

from pathlib import Path
from typing import Any

from msgspec import json

from fleetctl.manifest.schema import Fleet


def to_text(fleet: Fleet) -> str | None:
    """The fleet for `from_text`; None where it has half a character, as only slow PyYAML lets in."""
    try:
        return json.encode(fleet, enc_hook=_to_plain).decode()
    except UnicodeEncodeError:
        return None


def from_text(text: str) -> Fleet:
    """The fleet that `to_text` wrote."""
    return json.decode(text, type=Fleet, dec_hook=_from_plain)


def _to_plain(value: Any) -> str:
    assert isinstance(value, Path), value
    return str(value)


def _from_plain(kind: type, value: Any) -> Path:
    assert kind is Path, kind
    return Path(value)
