"""The host keys that ssh's own file format vouches for, read the way OpenSSH reads them.

Paramiko's reader compares every line with every other, takes no patterns, and ignores `@revoked`.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from fleetctl.errors import TransportError


class HostKey(Struct, frozen=True):
    """A public key: its type, such as `ssh-ed25519`, and its bytes on the wire."""

    kind: str
    blob: bytes


class _Line(Struct, frozen=True):
    marker: str
    patterns: tuple[str, ...]
    key: HostKey


class KnownHosts:
    """The keys of one known_hosts file."""

    def __init__(self, text: str) -> None:
        self._plain: dict[str, list[_Line]] = {}
        self._searched: list[_Line] = []  # hashed names and patterns: held against every host asked for
        for line in filter(None, map(_parse, text.splitlines())):
            if any(_is_searched(pattern) for pattern in line.patterns):
                self._searched.append(line)
            else:
                for name in set(line.patterns):
                    self._plain.setdefault(name, []).append(line)

    @classmethod
    def read(cls, path: Path) -> "KnownHosts":
        """Read a file; one that is not there knows nobody.

        Raises:
            TransportError: it cannot be read.
        """
        try:
            return cls(path.read_bytes().decode(errors="replace"))
        except FileNotFoundError:
            return cls("")
        except OSError as error:
            raise TransportError(f"{path} cannot be read: {error.strerror}") from error

    def keys(self, host: str, port: int) -> list[HostKey]:
        """The keys the host may show, without those revoked anywhere in the file for it."""
        lines = self._lines(address(host, port))
        revoked = {line.key for line in lines if line.marker == "@revoked"}
        trusted = (line.key for line in lines if not line.marker and line.key not in revoked)
        return list(dict.fromkeys(trusted))

    def _lines(self, name: str) -> Sequence[_Line]:
        found = (line for line in self._searched if _matches(line.patterns, name))
        return [*self._plain.get(name, ()), *found]


def address(host: str, port: int) -> str:
    """The name under which known_hosts files keep a host: with its port, unless that is 22."""
    host = host.lower()
    return host if port == 22 else f"[{host}]:{port}"


def _parse(line: str) -> _Line | None:
    """One line, or None for a comment and for what is not a key; OpenSSH passes over those, too."""
    fields = line.split()
    marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
    if len(fields) < 3 or fields[0].startswith("#"):
        return None
    names, kind, encoded = fields[:3]
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
    patterns = (names,) if names.startswith("|1|") else tuple(names.lower().split(","))
    return _Line(marker, patterns, HostKey(kind, blob))


def _is_searched(pattern: str) -> bool:
    return pattern.startswith(("|1|", "!")) or "*" in pattern or "?" in pattern


def _matches(patterns: Iterable[str], name: str) -> bool:
    """Whether one of the patterns says yes, and none of the negated ones says no."""
    matched = False
    for pattern in patterns:
        if pattern.startswith("!"):
            if _matches_one(pattern[1:], name):
                return False
        elif _matches_one(pattern, name):
            matched = True
    return matched


def _matches_one(pattern: str, name: str) -> bool:
    if pattern.startswith("|1|"):
        return _matches_hash(pattern, name)
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, name, re.DOTALL) is not None


def _matches_hash(pattern: str, name: str) -> bool:
    """`|1|salt|digest`: HMAC-SHA1 of the name under the salt, both in base64 (OpenSSH's hostfile.c)."""
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in pattern[3:].split("|"))
    except ValueError:
        return False
    return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)
