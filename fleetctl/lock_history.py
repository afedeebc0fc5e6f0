"""The versions of the lock that git knows of and somebody may yet want: read from its objects alone."""

import os
from collections.abc import Iterable, Iterator

from msgspec import Struct

from fleetctl import lockfile
from fleetctl.commits import Commits
from fleetctl.lockfile import FleetLock
from fleetctl.project import Project


class Change(Struct, frozen=True):
    """A commit, made at `time`, that gave the lock other bytes: git's ids of them, zeros for none."""

    time: int
    before: str
    after: str


def wanted_versions(tips: Iterable[str], changes: Iterable[Change], since: float) -> set[str]:
    """The locks of today's `tips`, the one before each, and all that were in force at any time `since`."""
    now = set(tips)
    recent = [change for change in changes if change.time >= since or change.after in now]
    return now.union(*((change.before, change.after) for change in recent))


def wanted_locks(project: Project, recorded: Iterable[str], since: float) -> list[FleetLock]:
    """The locks that branches, tags, the index and `recorded` commits have, as `wanted_versions` says.

    There are none outside of a git repository. What git has no more of `recorded`, nobody can go back to.

    Raises:
        ManifestError: one of them is no lock.
        UsageError, FleetError: git cannot say.
    """
    commits, path = Commits(project), project.decisive[1]
    commits.demand_trusted()
    if not _is_repository(commits):
        return []
    refs = os.fsdecode(commits.must("for-each-ref", "--format=%(refname)")).splitlines()
    tips = _versions(commits, ["HEAD", *refs, *recorded, ""], path)
    changes = list(_changes(commits, path))
    named = {each.after: f"version {each.after[:12]} of {path}" for each in changes if each.after.strip("0")}
    named |= {blob: name.replace(":./", ":") for name, blob in tips.items()}
    wanted = sorted(wanted_versions(tips.values(), changes, since) & named.keys())
    return [
        lockfile.loads(data, named[blob]) for blob, data in zip(wanted, commits.contents(wanted), strict=True)
    ]


def _is_repository(commits: Commits) -> bool:
    """Whether there is one. One that git cannot open must not pass for none."""
    if commits.marker:
        commits.must("rev-parse", "--git-dir")
    return bool(commits.marker) or commits.exist  # git may have been told where it is


def _versions(commits: Commits, revisions: Iterable[str], path: str) -> dict[str, str]:
    """git's id of a file in each revision that has it, by what git calls the file there."""
    names = [f"{revision}:./{path}" for revision in revisions]
    asked = b"".join(os.fsencode(name) + b"\n" for name in names)
    said = commits.must("cat-file", "--batch-check=%(objecttype) %(objectname)", data=asked).splitlines()
    return {
        name: line.split()[1].decode()
        for name, line in zip(names, said, strict=True)
        if line.startswith(b"blob ")
    }


def _changes(commits: Commits, path: str) -> Iterator[Change]:
    """Every change of a file that any branch, tag or `HEAD` leads to; of a merge against each parent.

    With `--objects` git fails where it lost a version, of which `_versions` could only say that it has none.
    """
    found = commits.must("rev-list", "--all", "--full-history", "--objects", "--", path)
    made = b"".join(line + b"\n" for line in found.splitlines() if b" " not in line)
    how = ("--stdin", "-r", "-m", "--root", "--no-renames", "--format=%ct")
    time = 0
    for line in commits.must("diff-tree", *how, "--", path, data=made).splitlines():
        if line.startswith(b":"):
            before, after = line.decode(errors="replace").split()[2:4]
            yield Change(time, before, after)
        elif line:
            time = int(line)
