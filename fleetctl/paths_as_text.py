"""Paths as text and back, for msgspec, which has no kind of value for them."""

from pathlib import Path
from typing import Any


def path_to_text(value: Any) -> str:
    """As `enc_hook`: of all that we write so, msgspec knows everything but paths."""
    assert isinstance(value, Path), value
    return str(value)


def text_to_path(kind: type, value: Any) -> Path:
    """As `dec_hook`, the other way round."""
    assert kind is Path, kind
    return Path(value)
