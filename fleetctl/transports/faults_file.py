"""The reader of a faults file, as strict as that of a manifest."""

import math
from collections.abc import Callable, Collection, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from fleetctl.errors import ManifestError, Problem
from fleetctl.manifest.complaints import Complaint, as_problems, unknown
from fleetctl.manifest.tree import Node, Pairs, Scalar, parse
from fleetctl.transports.faults import Fault, Stage

_EXAMPLE = "such as `luxor-*: {unreachable: true}`"


def read(path: Path, boards: Collection[str] | None = None) -> dict[str, dict[str, Any]]:
    """What the file at `path` says of each glob: fields of `Fault`, in the order of the file.

    Args:
        boards: all that a glob can mean; None where they are not known.

    Raises:
        ManifestError: it cannot be read or is not valid; carries every problem with its place.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FaultsError.unreadable(path, error) from None
    return _Reader(boards).read(data, str(path))


class FaultsError(ManifestError):
    """The faults file is invalid; carries every problem found."""

    def __init__(self, error: ManifestError) -> None:
        super().__init__([_about_faults(problem) for problem in error.problems])
        self.message = self.message.replace("the manifest", "the faults file")

    @classmethod
    def unreadable(cls, path: Path, error: OSError) -> "FaultsError":
        return cls(ManifestError([Problem(str(path), 0, 0, "", f"cannot be read: {error.strerror}")]))


def _about_faults(problem: Problem) -> Problem:
    """A problem in words that fit a faults file; those of an empty file are about a manifest."""
    return replace(problem, hint=f"say who does what, {_EXAMPLE}") if problem.what == "is empty" else problem


class _Reader:
    """Turns the tree of a faults file into settings by glob, noting everything wrong on the way."""

    def __init__(self, boards: Collection[str] | None) -> None:
        self._boards = boards
        self._complaints: list[Complaint] = []

    def read(self, data: bytes, name: str) -> dict[str, dict[str, Any]]:
        try:
            root = parse(data, name)
        except ManifestError as error:
            raise FaultsError(error) from None
        pairs = self._pairs(root)
        faults = {glob.text: self._settings(node) for glob, node in pairs}
        self._demand_boards([glob for glob, _ in pairs])
        if self._complaints:
            raise FaultsError(ManifestError(as_problems(self._complaints, [root])))
        return faults

    def _demand_boards(self, globs: list[Scalar]) -> None:
        """Refuse what means no board: what was rehearsed would pass, for nothing went wrong."""
        if self._boards is None:
            return
        for glob in globs:
            if not any(fnmatchcase(board, glob.text) for board in self._boards):
                hint = "a key is the name of a board of the manifest, or a glob that fits some"
                self._complaints.append(unknown(glob, "board", glob.text, self._boards, hint))

    def _pairs(self, node: Node) -> list[tuple[Scalar, Node]]:
        if not isinstance(node, Pairs):
            self._refuse(node, "a mapping is needed here", _EXAMPLE)
            return []
        seen: set[str] = set()
        for key, _ in node.pairs:
            if key.text in seen:
                self._refuse(key, f"`{key.text}` is here twice", "keep one of them")
            seen.add(key.text)
        return node.pairs

    def _settings(self, node: Node) -> dict[str, Any]:
        known = {name: _READERS[name] for name in Fault.__struct_fields__}
        found = {}
        for key, value in self._pairs(node):
            reader = known.get(key.text)
            if reader is None:
                self._complaints.append(unknown(key, "fault", key.text, known, f"one of {', '.join(known)}"))
                continue
            try:
                found[key.text] = reader(value.text if isinstance(value, Scalar) else "")
            except _Unfit as unfit:
                self._refuse(value, str(unfit))
        return found

    def _refuse(self, node: Node, what: str, hint: str = "") -> None:
        self._complaints.append(Complaint(node, what, hint))


class _Unfit(ValueError):
    """A value that a fault cannot have; the text says what it could be."""


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise _Unfit("expected true or false")
    return text == "true"


def _count(text: str) -> int:
    if not text.isdecimal() or len(text) > 6:
        raise _Unfit("expected a whole number from 0 to 999999")
    return int(text)


def _fraction(text: str) -> float:
    value = _number(text)
    if not 0.0 <= value <= 1.0:
        raise _Unfit("expected a number from 0 to 1")
    return value


def _milliseconds(text: str) -> float:
    value = _number(text)
    if value < 0.0:
        raise _Unfit("expected milliseconds, 0 or more")
    return value


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _Unfit("expected a number")
    return value


def _stage(text: str) -> Stage:
    try:
        return Stage(text)
    except ValueError:
        raise _Unfit(f"expected one of {', '.join(Stage)}") from None


_READERS: Mapping[str, Callable[[str], Any]] = {
    "unreachable": _flag,
    "refused": _flag,
    "timed_out": _flag,
    "flaky": _count,
    "fail_stage": _stage,
    "bad_answers": _fraction,
    "slow": _milliseconds,
    "hot": _flag,
    "wrong_accelerator": _flag,
    "no_accelerator": _flag,
    "lies": _flag,
    "dies_after_activate": _flag,
    "revert_fails": _flag,
}
