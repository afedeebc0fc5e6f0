"""Who changed what git says, and when: the commits since the one that a board's release came from."""

import re
import subprocess
from functools import cache

from msgspec import Struct

from fleetctl.children import environment
from fleetctl.project import Project
from fleetctl.revision import uncommitted

_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_FORMAT = "%H%x1f%an%x1f%aI%x1f%s"
_PATIENCE_S = 30


class Change(Struct, frozen=True):
    """A commit that changed what boards should run. `when` is ISO 8601, as its author's clock said."""

    commit: str
    author: str
    when: str
    subject: str


class Move(Struct, frozen=True):
    """How it came that git says something else than a board runs: by a commit, by edits here, or by both.

    Neither: what is checked out is no newer than what the board runs, or nobody knows. `is_foreign`: the
    board names a commit that is not in this repository, so that none here can be said to come after it.
    """

    change: Change | None = None
    is_edited: bool = False
    is_foreign: bool = False


@cache
def move_since(project: Project, commit: str) -> Move:
    """The oldest commit after `commit` (a board's word for it, untrusted) that decides about releases.

    Where a board names no commit, it is the newest there is. `commit` may end in `-dirty`.

    Raises:
        UsageError, FleetError: as `revision.uncommitted`.
    """
    newest = _log(project, "--max-count=1", "HEAD")
    if not newest:
        return Move()
    base = commit.removesuffix("-dirty")
    is_edited = bool(uncommitted(project))
    if not _COMMIT.match(base):
        return Move(newest[0], is_edited)
    since = _log(project, f"{base}..HEAD")
    return Move(since[-1] if since else None, is_edited, is_foreign=since is None)


def recent_changes(project: Project, most: int = 30) -> list[Change]:
    """The last commits that decide about releases, newest first; none outside of git."""
    return _log(project, f"--max-count={most}", "HEAD") or []


def _log(project: Project, *what: str) -> list[Change] | None:
    """Newest first; None where git knows none of what is asked."""
    argv = ["git", "-C", str(project.repository), "--literal-pathspecs", "log", f"--format={_FORMAT}", *what]
    try:
        done = subprocess.run(
            [*argv, "--", *project.decisive],
            capture_output=True,
            timeout=_PATIENCE_S,
            check=False,
            env=environment(),
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    lines = done.stdout.decode(errors="replace").split("\n")  # and at nothing else that a name may hold
    return [Change(*line.split("\x1f", 3)) for line in lines if line.count("\x1f") >= 3]
