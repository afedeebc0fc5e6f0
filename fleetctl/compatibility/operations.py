"""Which TFLite first had an operation in a version: the table `operations.tsv`, read once."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from fleetctl.compatibility.versions import Version, parse_version


@cache
def table() -> Mapping[str, tuple[Version | None, ...]]:
    """By operation: the first TensorFlow release with version 1, 2, ...; None for one that never was."""
    text = Path(__file__).with_name("operations.tsv").read_text("utf-8")
    rows = (line.split("\t") for line in text.splitlines() if not line.startswith("#"))
    return {name: tuple(parse_version(release) for release in releases.split()) for name, releases in rows}


def first_release(operation: str, version: int) -> Version | None:
    """The first TensorFlow whose TFLite runs `operation` in `version`; None where nobody here knows."""
    releases = table().get(operation, ())
    return releases[version - 1] if 1 <= version <= len(releases) else None


def newest_version(operation: str, tflite: Version) -> int | None:
    """The newest version of `operation` that a TFLite runs; None where it runs none."""
    numbered = enumerate(table().get(operation, ()), start=1)
    return max((version for version, first in numbered if first and first <= tflite), default=None)
