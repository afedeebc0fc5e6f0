"""What is wrong with simulated boards, as a small YAML file says: `faults_file` reads it.

    luxor-*: {flaky: 2}
    karnak-07: {bad_answers: 0.5, revert_fails: true}

Keys are board names or globs; a later match adds to an earlier one.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace


class Stage(StrEnum):
    """A verb of the board protocol that can be made to fail."""

    OBSERVE = "observe"
    MISSING = "missing"
    ACTIVATE = "activate"
    CONFIRM = "confirm"
    REVERT = "revert"
    PROBE = "probe"
    LOGS = "logs"
    HISTORY = "history"


class Fault(Struct, frozen=True):
    """What one simulated board does wrong; the default is a board without fault.

    The documentation of each field in `docs/fake-transport.md` is checked against this list.
    """

    unreachable: bool = False
    refused: bool = False
    timed_out: bool = False
    flaky: int = 0  # first calls that find it unreachable
    fail_stage: Stage | None = None
    bad_answers: float = 0.0  # fraction of golden answers that are wrong
    slow: float | None = None  # milliseconds that every answer takes
    hot: bool = False  # 86 C, and too slow for its budget
    wrong_accelerator: bool = False
    no_accelerator: bool = False
    lies: bool = False  # shows the receipt of another board
    dies_after_activate: bool = False  # nothing more is heard of it; it reverts itself when its time is up
    revert_fails: bool = False


class Faults(Struct, frozen=True):
    """Faults by glob, in the order of the file."""

    by_glob: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def of(self, board: str) -> Fault:
        """What is wrong with `board`: everything that the globs matching it say."""
        found = Fault()
        for glob, settings in self.by_glob.items():
            if fnmatchcase(board, glob):
                found = replace(found, **settings)
        return found

    @classmethod
    def load(cls, path: Path, boards: Collection[str] | None = None) -> "Faults":
        """Read a faults file.

        Args:
            boards: all that there are; a key that means none of them is a typing mistake. None: not known.

        Raises:
            ManifestError: it cannot be read or is not valid; carries every problem with its place.
        """
        from fleetctl.transports.faults_file import read  # most fakes have no fault

        return cls(read(path, boards))
