"""What a simulated board remembers."""

from typing import Any

from msgspec import Struct, field


class Record(Struct):
    """Plain JSON values, so that it can lie on disk."""

    calls: int = 0
    current: str | None = None
    good: str | None = None
    pending: dict[str, Any] | None = None  # release, previous, confirm_by
    started: float = 0.0
    booted: float = 0.0
    pid: int = 1000
    releases: dict[str, dict[str, str]] = field(default_factory=dict)  # digest -> path -> blob digest
    sizes: dict[str, int] = field(default_factory=dict)  # blobs that are here
    texts: dict[str, str] = field(default_factory=dict)  # those that are small JSON documents
    receipts: list[dict[str, Any]] = field(default_factory=list)  # oldest first
    trust: dict[str, Any] | None = None  # fleet, board, keys: PEM; None: it takes what it is brought
    serial: int | None = None  # the latest place in history that it confirmed


def whole(record: Record) -> Record:
    """`record`, if every blob that its releases name is here.

    Raises:
        ValueError: one is not: the file was altered.
    """
    named = {digest for files in record.releases.values() for digest in files.values()}
    if not named <= record.sizes.keys():
        raise ValueError("a release names a blob that is not here")
    return record
