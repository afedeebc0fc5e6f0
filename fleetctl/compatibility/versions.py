"""Versions of runtimes and languages, as numbers that can be compared."""

import re
from typing import NamedTuple

_VERSION = re.compile(r"([0-9]{1,6})\.([0-9]{1,6})(?:\.([0-9]{1,6}))?")


class Version(NamedTuple):
    """`major.minor.patch`; what follows (`post1`, `-dev0`) does not count."""

    major: int
    minor: int
    patch: int = 0

    @property
    def series(self) -> tuple[int, int]:
        """What has to be the same where two libraries exchange C++ objects."""
        return self.major, self.minor

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}" + (f".{self.patch}" if self.patch else "")


def parse_version(text: str) -> Version | None:
    """The version that `text` begins with; None where it does not begin with one."""
    found = _VERSION.match(text)
    return Version(*(int(part or 0) for part in found.groups())) if found else None
