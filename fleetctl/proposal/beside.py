"""What lies beside a manifest and is in no release: whom boards and we trust, and the pinned fleetctl."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct, field

from fleetctl.errors import SigningError
from fleetctl.project import Project

PIN = ".github/fleetctl.txt"  # which fleetctl pipelines install


class Beside(Struct, frozen=True):
    """`trust` holds the PEM of each key by its name; `hosts` host keys, as ssh's file has them, by host."""

    trust: Mapping[str, str] = field(default_factory=dict)
    hosts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    pin: str = ""


class TrustChange(NamedTuple):
    """A name whose key differs. `before` and `after` are fingerprints; None where there is no such key."""

    name: str
    before: str | None
    after: str | None


def read_beside(project: Project) -> Beside:
    """Read what lies in a project's folder; nothing of it can be so wrong that there is no answer."""
    return Beside(
        trust={path.stem: _text(path) for path in sorted(project.trust.glob("*.pem"))},
        hosts=_hosts(project.known_hosts),
        pin=pin_of(project.root),
    )


def pin_of(root: Path) -> str:
    """The pinned fleetctl, on one line; empty where there is none."""
    return " ".join(_text(root / PIN).split())


def trust_changes(base: Beside, head: Beside) -> Iterator[TrustChange]:
    """Every name that stands for another key than before."""
    for name in dict.fromkeys([*base.trust, *head.trust]):
        old, new = base.trust.get(name), head.trust.get(name)
        if old == new:  # most are: then nothing that reads keys is even imported
            continue
        before, after = (None if text is None else _fingerprint(text) for text in (old, new))
        if before != after:
            yield TrustChange(name, before, after)


def _fingerprint(pem: str) -> str:
    """By which boards know a key; of what is none, something that tells it from others."""
    from fleetctl.signing.keys import parse_public

    try:
        return parse_public(pem, "it").fingerprint
    except SigningError:
        return f"no public key, {hashlib.sha256(pem.encode()).hexdigest()[:12]}"


def _hosts(path: Path) -> Mapping[str, frozenset[str]]:
    """Keys by host. A line with a marker, such as `@revoked`, is about a host of its own."""
    if path.is_symlink():
        return {f"({_text(path)})": frozenset()}
    found: dict[str, set[str]] = {}
    for line in _text(path).splitlines():
        fields = line.split()
        marker = f"{fields.pop(0)} " if fields and fields[0].startswith("@") else ""
        if len(fields) < 3 or fields[0].startswith("#"):
            continue  # a comment, or nothing that ssh takes for a key
        names, key = fields[0], " ".join(fields[1:3])
        for name in [names] if names.startswith("|1|") else names.lower().split(","):
            found.setdefault(f"{marker}{name}", set()).add(key)
    return {name: frozenset(keys) for name, keys in found.items()}


def _text(path: Path) -> str:
    """What a file says; of a link only where it leads, for a change is no way to a runner's files."""
    try:
        if path.is_symlink():
            return f"a link to {path.readlink()}"
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""
