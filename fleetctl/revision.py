"""Which commit of the fleet's repository is at work; receipts carry it."""

import subprocess
from pathlib import Path

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


def serial_of(root: Path) -> int | None:
    """How many commits lead to the one checked out, along first parents: it grows with every merge.

    None outside a git repository, and in a clone whose history is cut short, where counting would mislead.
    """
    if _git(root, "rev-parse", "--is-shallow-repository") != "false":
        return None
    count = _git(root, "rev-list", "--count", "--first-parent", "HEAD")
    return int(count) if count.isdigit() else None


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30, check=False
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
