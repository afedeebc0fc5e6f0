"""What a simulated board remembers."""

from typing import Annotated, Any

from msgspec import Meta, Struct, convert, field

from fleetctl.device.trust import fingerprint_of
from fleetctl.store import sha256

Seconds = Annotated[float, Meta(ge=0, lt=253_402_300_800)]  # since the epoch, up to the year 9999


class Record(Struct):
    """Plain JSON values, so that it can lie on disk."""

    calls: int = 0
    current: str | None = None
    good: str | None = None
    pending: dict[str, Any] | None = None  # release, previous, confirm_by
    started: Seconds = 0.0
    booted: Seconds = 0.0
    pid: int = 1000
    releases: dict[str, dict[str, str]] = field(default_factory=dict)  # digest -> path -> blob digest
    sizes: dict[str, int] = field(default_factory=dict)  # blobs that are here
    texts: dict[str, str] = field(default_factory=dict)  # those that are small JSON documents
    receipts: list[dict[str, Any]] = field(default_factory=list)  # oldest first
    trust: dict[str, Any] | None = None  # fleet, board, keys: PEM; None: it takes what it is brought
    serial: int | None = None  # the latest place in history that it confirmed


class _Pending(Struct):
    release: str
    previous: str | None
    confirm_by: Seconds
    signed: dict[str, Any] | None


class _Receipt(Struct):
    release: str
    commit: str | None
    time: str
    state: str
    outcome: str
    reasons: list[str]


class _Trust(Struct):
    fleet: str
    board: str
    keys: list[str]


def whole(record: Record) -> Record:
    """`record`, if a simulated board can have left it: somebody may have edited the file that it lies in.

    Raises:
        ValidationError: something is absent, or is not what belongs there.
        ValueError: a release names a blob that is not here, a blob is another, a clock cannot be told from.
        BoardError: what is to be trusted is no key.
    """
    convert(record.pending, _Pending | None)
    convert(record.receipts, list[_Receipt])
    trusted = convert(record.trust, _Trust | None)
    for pem in trusted.keys if trusted else ():
        fingerprint_of(pem)
    named = {digest for files in record.releases.values() for digest in files.values()}
    if not named <= record.sizes.keys():
        raise ValueError("a release names a blob that is not here")
    if any(sha256(text.encode()) != digest for digest, text in record.texts.items()):
        raise ValueError("a blob was altered")
    return record
