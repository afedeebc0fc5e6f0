"""What a change starts from: the fleet of a commit, which may have none, or one that nobody can read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct
from msgspec.structs import replace

from fleetctl.commits import project_at
from fleetctl.errors import ManifestError
from fleetctl.manifest.schema import Danger, Fleet
from fleetctl.project import Project
from fleetctl.proposal.dangers import Finding, dangers
from fleetctl.proposal.side import Side, read_side


class Base(Struct, frozen=True):
    """What a change starts from. `unreadable` is why it cannot be compared with; then `side` is empty."""

    commit: str
    side: Side
    unreadable: str = ""


@contextmanager
def base_of(project: Project, commit: str, head: Fleet) -> Iterator[Base]:
    """The fleet as it was at `commit`, read from git's objects into a folder that goes with the block.

    A commit without a manifest is a fleet without boards: the first pull request brings all of them.
    """
    with TemporaryDirectory(prefix="fleetctl-base-") as folder:
        then = project_at(project, commit, Path(folder).resolve(), whole=False)
        empty = Side(commit, then, replace(head, boards={}, models={}, groups={}))
        empty = replace(empty, fleet=replace(empty.fleet, rollout=replace(head.rollout, allow={})))
        if not then.manifest.exists():
            yield Base(commit, empty)
            return
        try:
            side = read_side(commit, then)
        except ManifestError as error:
            first = error.problems[0]
            yield Base(commit, empty, f"{error.message}: {Path(first.file).name}:{first.line}: {first.what}")
        else:
            yield Base(commit, side)


def findings(base: Base, head: Side) -> list[Finding]:
    """Every danger of going from `base` to `head`; that nobody can read `base` is one."""
    return [*_unreadable(base, head), *dangers(base.side, head)]


def _unreadable(base: Base, head: Side) -> Iterator[Finding]:
    if base.unreadable:
        reason = head.fleet.rollout.allow.get(Danger.UNREADABLE_BASE)
        what = f"{base.commit[:12]} cannot be compared with: {base.unreadable}"
        yield Finding(Danger.UNREADABLE_BASE, what, reason=reason)
