"""A fleet as JSON and back, for a manifest that need not be read again.

What is written is read by the very same code, or not at all: `remembered` sees to that.
"""

from msgspec import json

from fleetctl.manifest.schema import Fleet
from fleetctl.paths_as_text import path_to_text, text_to_path


def to_text(fleet: Fleet) -> str | None:
    """The fleet for `from_text`; None where it has half a character, as only slow PyYAML lets in."""
    try:
        return json.encode(fleet, enc_hook=path_to_text).decode()
    except UnicodeEncodeError:
        return None


def from_text(text: str) -> Fleet:
    """The fleet that `to_text` wrote."""
    return json.decode(text, type=Fleet, dec_hook=text_to_path)
