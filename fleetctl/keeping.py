"""What a fleet keeps on this machine that only grows, and what of it is needed: facts for `pruning`.

Only what bears a name that we give is looked at. Whatever else lies in these folders is somebody else's.
"""

import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from fleetctl import lockfile
from fleetctl.build.built import finished_in
from fleetctl.errors import UsageError
from fleetctl.lock_history import wanted_locks
from fleetctl.lockfile import LockedModel
from fleetctl.project import Project
from fleetctl.pruning import Kind, Thing, removable
from fleetctl.store import Journal, Lock

_DIGEST = "[0-9a-f]{64}"
_BLOB = re.compile(_DIGEST)
_DELTA = re.compile(rf"({_DIGEST})\.({_DIGEST})")
_PART = re.compile(rf"{_DIGEST}\.part")
_LEFTOVER = re.compile(rf"\.{_DIGEST}(\.{_DIGEST})?\.[a-z0-9_]{{8}}")  # as `atomic_write` calls them
_COMMIT = re.compile("([0-9a-f]{40}|[0-9a-f]{64})(-dirty)?")


def prunable(project: Project, since: float) -> list[Thing]:
    """What may go of all that the fleet keeps: nobody needs it, and nobody used it `since`.

    Raises:
        ManifestError: a lock, here or in git, is damaged, so nobody can say what it needs.
        UsageError: a folder lies behind a link; git cannot be asked.
        FleetError: git cannot say.
    """
    _refuse_links(project)
    things = list(things_of(project))  # before the locks are read: what is made in between is not among them
    return removable(things, roots_of(project, since), since)


def at_rest(project: Project) -> ExitStack:
    """Keeps rollouts, builds, pulls and plain playbooks out while it is entered: all that fill the store.

    Raises:
        LockHeld: one is at work.
    """
    with ExitStack() as stack:
        for name in ("lock", "build.lock", "pull.lock", "playbook.lock"):
            stack.enter_context(Lock(project.state / name, "`fleetctl artifacts prune`"))
        return stack.pop_all()


def roots_of(project: Project, since: float) -> set[str]:
    """The blobs and the inputs that some lock names that is wanted."""
    in_git = wanted_locks(project, _rolled_out(project.state, since), since)
    locks = [lockfile.read(project.lockfile), *in_git]
    models = [model for lock in locks for model in lock.models.values()]
    return {model.input_digest for model in models} | _blobs_of(models)


def things_of(project: Project) -> Iterator[Thing]:
    """Everything that is kept and can be made or fetched again."""
    store, images = project.store, project.state / "images"
    for path, status in _files(store / "sha256", _BLOB):
        yield _thing(Kind.BLOB, path, status, frozenset([path.name]))
    for path, status in _files(store / "deltas", _DELTA):
        yield _thing(Kind.DELTA, path, status, frozenset(path.name.split(".")))
    for path, status in _files(images / "blobs" / "sha256", _BLOB):
        yield _thing(Kind.IMAGE, path, status)
    for folder in (project.state / "downloads", images):
        for path, status in _files(folder, _PART):
            yield _thing(Kind.PART, path, status)
    for folder in (store / "sha256", store / "deltas", images / "blobs" / "sha256"):
        for path, status in _files(folder, _LEFTOVER):
            yield _thing(Kind.LEFTOVER, path, status)
    for path, _ in _entries(project.state / "build", _BLOB, stat.S_ISDIR):
        yield _build(path)


def _build(folder: Path) -> Thing:
    """The folder of one recipe: of use for every model that was finished in it, as old as its newest file."""
    inside = [folder, *folder.rglob("*")]
    found = [status for path in inside if (status := _status(path))]
    models = list(finished_in(folder))
    return Thing(
        Kind.BUILD,
        folder,
        sum(status.st_size for status in found if stat.S_ISREG(status.st_mode)),
        max((status.st_mtime for status in found), default=time.time()),
        tuple(frozenset([model.input_digest]) for model in models),
        frozenset(_blobs_of(models)),
    )


def _thing(kind: Kind, path: Path, status: os.stat_result, *groups: frozenset[str]) -> Thing:
    return Thing(kind, path, status.st_size, status.st_mtime, groups)


def _files(folder: Path, called: re.Pattern[str]) -> Iterator[tuple[Path, os.stat_result]]:
    return _entries(folder, called, stat.S_ISREG)


def _entries(
    folder: Path, called: re.Pattern[str], is_sort: Callable[[int], bool]
) -> Iterator[tuple[Path, os.stat_result]]:
    """What lies in a folder under such a name and is of that sort: no links."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        status = _status(path) if called.fullmatch(path.name) else None
        if status and is_sort(status.st_mode):
            yield path, status


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:  # gone meanwhile
        return None


def _blobs_of(models: Iterable[LockedModel]) -> set[str]:
    variants = (variant for model in models for variant in model.variants.values())
    return {ref.sha256 for variant in variants for ref in variant.artifact.files.values()}


def _rolled_out(state: Path, since: float) -> Iterator[str]:
    """The commits that rollouts from here brought to boards: the last one, and those `since`."""
    journals = sorted((state / "journal").glob("*.jsonl"))
    for journal in journals:
        if journal == journals[-1] or journal.stat().st_mtime >= since:
            for record in Journal(journal).read():
                if commit := _COMMIT.fullmatch(str(record.get("commit"))):
                    yield commit[1]
                    break


def _refuse_links(project: Project) -> None:
    """What lies behind a link may be kept for others, whose locks nobody here knows."""
    state, store = project.state, project.store
    folders = [store.parent, store, store / "sha256", store / "deltas", state]
    folders += [state / name for name in ("build", "downloads", "images")]
    for folder in folders:
        if folder.is_symlink():
            raise UsageError(
                f"{folder} is a link to {folder.readlink()}: what lies there may be of use to others",
                hint="put the folder itself in its place, or clear up by hand",
            )
