"""Everything fleetctl raises on purpose, with the exit code a user sees.

FleetError                      70  internal error unless a subclass says otherwise
├── WriteError                  70  a file cannot be written: disk full, permission (a build makes it 20)
├── UsageError                   2  the command line asks for something that cannot be
├── ManifestError               10  the manifest is invalid; carries every problem, not the first
├── LockStale                   11  fleet.lock does not describe what the manifest asks for
├── PlanStale                   11  a saved plan is not what would be done now
├── Dangerous                   12  a change does what is seldom meant, and does not say that it is
├── BuildError                  20  a model could not be built
│   ├── GateRefused             21  built, but an acceptance gate said no
│   └── ToolchainMissing        22  a tool the build needs is not here
├── Incompatible                21  a board cannot load the release it is to run
├── TransportError              30  boards could not be reached
│   ├── Refused                 31  a board or we refused: host key, permission
│   └── OverQuota               32  a hub does not have room or time for what is to be done
├── SigningError                31  a release cannot be signed so that its board would take it
├── SmokeFailed                 40  boards failed their proof and were rolled back
│   └── RollbackFailed          41  ...and at least one could not be
├── GatePaused                  42  the gate neither passed nor failed: a person decides
├── Aborted                     43  a person ended the rollout
└── LockHeld                    50  somebody else is at work on this fleet

Exit 1 is not an error: `plan`, `status` and `drift` return it for "differs".
"""

from typing import ClassVar

from msgspec import Struct


class FleetError(Exception):
    """Base of every error meant for a user: what is wrong, and what to try.

    `message` is one sentence without a trailing period; `hint` is what to try next, or empty.
    """

    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def in_short(self) -> str:
        """The error in one line, as part of a sentence about something else."""
        return self.message


class WriteError(FleetError):
    """A file cannot be written: no space, no permission. What it held before, it still holds."""


class UsageError(FleetError):
    """The command line asks for something that cannot be."""

    exit_code = 2


class Problem(Struct, frozen=True, order=True):
    """One thing wrong in a file a user wrote.

    `line` and `column` count from 1; 0 means the file as a whole. `path` is the place inside
    the document, such as `boards.luxor-01.model`.
    """

    file: str
    line: int
    column: int
    path: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        place = ":".join([self.file, *(str(n) for n in (self.line, self.column) if n)])
        subject = f"{self.path}: " if self.path else ""
        advice = f"; {self.hint}" if self.hint else ""
        return f"{place}: {subject}{self.what}{advice}"


class ManifestError(FleetError):
    """The manifest (or a template it uses) is invalid; carries every problem found."""

    exit_code = 10

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems)
        count = len(problems)
        super().__init__(f"{count} problem{'s' if count != 1 else ''} in the manifest")

    @property
    def in_short(self) -> str:
        """Of many problems the first, for it is the one to mend."""
        return str(self.problems[0]) if self.problems else self.message


class LockStale(FleetError):
    """`fleet.lock` does not describe what the manifest asks for."""

    exit_code = 11


class PlanStale(FleetError):
    """A saved plan is not what would be done now."""

    exit_code = 11


class Dangerous(FleetError):
    """A change of the fleet does what is seldom meant, and its manifest does not say that it is."""

    exit_code = 12


class BuildError(FleetError):
    """A model could not be built."""

    exit_code = 20


class GateRefused(BuildError):
    """A model was built, and an acceptance gate of the manifest said no."""

    exit_code = 21


class ToolchainMissing(BuildError):
    """A tool or package the build needs is not installed."""

    exit_code = 22


class Incompatible(FleetError):
    """A board cannot load the release it is to run: its runtime, Python or accelerator is wrong."""

    exit_code = 21


class TransportError(FleetError):
    """Boards could not be reached."""

    exit_code = 30


class Refused(TransportError):
    """A board refused us, or we refused it: host key, permission."""

    exit_code = 31


class SigningError(FleetError):
    """A release cannot be signed so that its board would take it: no key, or not one that is trusted."""

    exit_code = 31


class OverQuota(TransportError):
    """A hub does not have room, or calls in its time, for what is to be done."""

    exit_code = 32


class SmokeFailed(FleetError):
    """At least one board failed its proof; every one that did was rolled back."""

    exit_code = 40


class RollbackFailed(SmokeFailed):
    """At least one board failed its proof and could not be rolled back."""

    exit_code = 41


class GatePaused(FleetError):
    """The gate could not decide; a person has to."""

    exit_code = 42


class Aborted(FleetError):
    """A person ended the rollout before it was done."""

    exit_code = 43


class LockHeld(FleetError):
    """Somebody else is at work on the same fleet."""

    exit_code = 50
