"""Which commit of the fleet's repository is at work; receipts carry it."""

import subprocess
from pathlib import Path

from fleetctl.children import environment
from fleetctl.project import Project

UNKNOWN = "none"


def commit_of(root: Path) -> str:
    """The commit checked out at `root`, with `-dirty` when what decides about boards differs from it.

    `none` outside a git repository, before its first commit, and where git is not installed.
    """
    head = _git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    if not head:
        return UNKNOWN
    changed = _git(root, "status", "--porcelain", "--", "inventory", "model_artifacts/fleet.lock")
    return f"{head}-dirty" if changed else head


def working_commit(project: Project) -> str:
    """The commit that a project was read from, or else `commit_of` where it lies."""
    return project.commit or commit_of(project.root)


def serial_of(root: Path, commit: str = "HEAD") -> int | None:
    """How many commits lead to this one, along first parents: it grows with every merge.

    None outside a git repository, and in a clone whose history is cut short, where counting would mislead.
    """
    if _git(root, "rev-parse", "--is-shallow-repository") != "false":
        return None
    count = _git(root, "rev-list", "--count", "--first-parent", commit)
    return int(count) if count.isdigit() else None


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=environment(),
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
