"""What a change starts from: the fleet of a commit, which may have none, or one that nobody can read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct
from msgspec.structs import replace

from fleetctl.commits import Commits, as_of, in_repository, project_at
from fleetctl.errors import ManifestError, Problem, UsageError
from fleetctl.manifest.schema import Danger, Fleet
from fleetctl.project import Project
from fleetctl.proposal.beside import PIN, pin_of, read_beside
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
        yield _written_to(Path(folder).resolve(), project, commit, head)


def _written_to(folder: Path, project: Project, commit: str, head: Fleet) -> Base:
    nobody = replace(head, boards={}, models={}, groups={}, rollout=replace(head.rollout, allow={}))
    try:
        then = project_at(project, commit, folder, whole=False)
    except UsageError as error:  # it lies behind a link, which is not followed
        return Base(commit, Side(commit, project, nobody), error.message)
    _write_pin(project, commit, then.root)
    empty = Side(commit, then, nobody, beside=read_beside(then))  # whom it trusted is known all the same
    if not then.manifest.exists():
        return Base(commit, empty)
    try:
        return Base(commit, read_side(commit, then))
    except ManifestError as error:
        return Base(commit, empty, f"{error.message}: {_told(error.problems[0], commit, then.root)}")


def _told(problem: Problem, commit: str, folder: Path) -> str:
    """What is wrong with a file that `commit` wrote to `folder`; nobody here is to mend that one."""
    there = in_repository(problem, folder)
    return str(replace(there, file=as_of(commit, there.file), hint=""))


def pin_at(project: Project, commit: str) -> str:
    """Which fleetctl pipelines installed at `commit`."""
    with TemporaryDirectory(prefix="fleetctl-base-") as folder:
        _write_pin(project, commit, Path(folder).resolve())
        return pin_of(Path(folder).resolve())


def _write_pin(project: Project, commit: str, folder: Path) -> None:
    Commits(project).write_out(commit, folder, [PIN])


def findings(base: Base, head: Side) -> list[Finding]:
    """Every danger of going from `base` to `head`; that nobody can read `base` is one."""
    return [*_unreadable(base, head), *dangers(base.side, head)]


def _unreadable(base: Base, head: Side) -> Iterator[Finding]:
    if base.unreadable:
        reason = head.fleet.rollout.allow.get(Danger.UNREADABLE_BASE)
        what = f"{base.commit[:12]} cannot be compared with: {base.unreadable}"
        yield Finding(Danger.UNREADABLE_BASE, what, reason=reason)
