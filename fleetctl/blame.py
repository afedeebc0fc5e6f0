"""Who changed what git says, and when: the commits since the one that a board's release came from."""

import re
import subprocess
from functools import cache
from pathlib import Path

from msgspec import Struct

from fleetctl.children import environment

_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_FORMAT = "%H%x1f%an%x1f%aI%x1f%s"
_DECIDES = ("inventory", "model_artifacts/fleet.lock")  # what the releases of boards are made of
_PATIENCE_S = 30


class Change(Struct, frozen=True):
    """A commit that changed what boards should run. `when` is ISO 8601, as its author's clock said."""

    commit: str
    author: str
    when: str
    subject: str


@cache
def first_change_after(root: Path, commit: str) -> Change | None:
    """The oldest commit after `commit` (a board's word for it, untrusted) that decides about releases.

    Without such a commit, or where the repository does not know `commit`, the newest there is; None outside
    of git. `commit` may end in `-dirty`.
    """
    base = commit.removesuffix("-dirty")
    if _COMMIT.match(base) and (since := _log(root, f"{base}..HEAD")):
        return since[-1]
    newest = _log(root, "--max-count=1", "HEAD")
    return newest[0] if newest else None


def recent_changes(root: Path, most: int = 30) -> list[Change]:
    """The last commits that decide about releases, newest first; none outside of git."""
    return _log(root, f"--max-count={most}", "HEAD")


def _log(root: Path, *what: str) -> list[Change]:
    """Newest first."""
    argv = ["git", "-C", str(root), "log", f"--format={_FORMAT}", *what, "--", *_DECIDES]
    try:
        done = subprocess.run(argv, capture_output=True, timeout=_PATIENCE_S, check=False, env=environment())
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return []
    lines = done.stdout.decode(errors="replace").splitlines() if done.returncode == 0 else []
    return [Change(*line.split("\x1f", 3)) for line in lines if line.count("\x1f") >= 3]
