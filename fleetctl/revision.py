"""Which commit of the fleet's repository is at work, and what here is not in it; receipts carry it."""

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from fleetctl.children import environment
from fleetctl.errors import FleetError, UsageError
from fleetctl.leftovers import is_leftover, is_no_manifest
from fleetctl.project import Project

UNKNOWN = "none"
# Files that git does not have and nothing reads, by what git says of them: ignored, or not added.
_UNREAD = {b"!!": is_no_manifest, b"??": is_leftover}
_PATIENCE_S = 120
_AT_ONCE = 500  # names in one command line


def commit_of(project: Project) -> str:
    """The commit checked out where a project lies, with `-dirty` when what decides about boards differs.

    `none` outside a git repository, before its first commit, and where git is not installed.

    Raises:
        UsageError: git has no say in what the project is read from.
        FleetError: git cannot say what differs.
    """
    demand_plain(project)
    head = _git(project.repository, "rev-parse", "--verify", "--quiet", "HEAD")
    if not head:
        return UNKNOWN
    return f"{head}-dirty" if uncommitted(project) else head


def working_commit(project: Project) -> str:
    """The commit that a project was read from, or else `commit_of` where it lies.

    Raises:
        UsageError, FleetError: as `commit_of`.
    """
    return project.commit or commit_of(project)


def uncommitted(project: Project) -> list[str]:
    """Files that decide about boards and are not what is checked out, as a person is to read of them.

    Files that git ignores, or was told to take for unchanged, count: they are read all the same.

    Raises:
        UsageError: git has no say in what the project is read from.
        FleetError: git cannot say.
    """
    demand_plain(project)
    return list(dict.fromkeys([*_differing(project), *_overlooked(project)]))


def demand_plain(project: Project) -> None:
    """See that manifest and lock lie in the repository as they are read; outside of git anything goes.

    Raises:
        UsageError: one of them lies behind a link, or in a repository of its own: it would seem unchanged.
    """
    place = project.repository
    path = linked(project, place)
    if path and _is_in_git(place, path):
        raise UsageError(
            f"{path} is a link to {path.readlink()}: git keeps the link, "
            "and the fleet would seem unchanged whatever changes behind it",
            hint=_without_link(project, path),
        )
    for folder in (place / project.inventory.name, place / project.artifacts.name):
        if (folder / ".git").exists():
            raise UsageError(
                f"{folder} is a git repository of its own: manifest and lock belong into one",
                hint="put the manifest into a folder of its repository, such as inventory/",
            )


def linked(project: Project, place: Path) -> Path | None:
    """What is a link to elsewhere of that which releases are made of, in a project that lies at `place`."""
    inventory, lock = (place / path for path in project.decisive)
    inside = [inventory / each.name for each in (project.manifest, project.templates, project.trust)]
    inside += [inventory / project.known_hosts.name, *sorted((inventory / project.trust.name).glob("*.pem"))]
    links = [path for path in (inventory, lock.parent, lock) if path.is_symlink()]
    links += [path for path in inside if path.is_symlink() and not _is_beside(path)]
    return links[0] if links else None


def _without_link(project: Project, link: Path) -> str:
    """What to do about a link: only a manifest can be named where it lies, and then its lock lies there."""
    mend = "put what it leads to in its place, and commit that"
    if link.name not in (project.inventory.name, project.manifest.name):
        return mend
    real = Path(os.path.realpath(project.manifest))
    near = real.relative_to(Path.cwd()) if real.is_relative_to(Path.cwd()) else real
    return f"{mend}; or name the manifest where it lies: `-f {shlex.quote(str(near))}`"


def _is_beside(link: Path) -> bool:
    """Whether a link leads to what lies beside it, and would in any copy of the folder."""
    folder = Path(os.path.realpath(link)).parent
    return len(link.readlink().parts) == 1 and folder == Path(os.path.realpath(link.parent))


def _is_in_git(place: Path, path: Path) -> bool:
    target = Path(os.path.realpath(path))
    return any(_git(folder, "rev-parse", "--git-dir") for folder in (place, target.parent))


def _differing(project: Project) -> Iterator[str]:
    # Settings of a user, such as `status.showUntrackedFiles`, have no say.
    options = ("--untracked-files=all", "--ignored=traditional", "--ignore-submodules=none")
    said = _output(
        project.repository, "status", "--porcelain", "-z", "--no-renames", *options, "--", *project.decisive
    )
    manifest = _called(project)
    for entry in said.split(b"\0"):
        state, name = entry[:2], os.fsdecode(entry[3:])
        is_unread = _UNREAD.get(state, lambda _: False)(name) and PurePosixPath(name).name not in manifest
        if state and not is_unread:
            yield f"{name} (git ignores it, it is not committed)" if state == b"!!" else name


def _called(project: Project) -> set[str]:
    """What the manifest itself is called, here and behind a link to what lies beside it: any name will do."""
    return {project.manifest.name, Path(os.path.realpath(project.manifest)).name}


def _overlooked(project: Project) -> Iterator[str]:
    """Files that git was told to take for unchanged (`assume-unchanged`, `skip-worktree`), and are not."""
    place, manifest = project.repository, _called(project)
    blobs: dict[str, str] = {}
    for entry in _output(place, "ls-files", "-v", "-s", "-z", "--", *project.decisive).split(b"\0"):
        head, _, path = entry.partition(b"\t")
        tag, *known = head.decode().split()[:3] or [""]
        file = PurePosixPath(os.fsdecode(path))
        if (tag == "S" or tag.islower()) and (file.name in manifest or not is_no_manifest(file.name)):
            blobs[str(file)] = known[1]
    here = dict(_hashed(place, [name for name in blobs if (place / name).is_file()]))
    for name, blob in blobs.items():
        if here.get(name) != blob:
            yield f"{name} (git was told not to look at it)"


def _hashed(place: Path, names: list[str]) -> Iterator[tuple[str, str]]:
    """Files with the digests that git would keep them under."""
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        yield from zip(some, _output(place, "hash-object", "--", *some).decode().split(), strict=True)


def serial_of(root: Path, commit: str = "HEAD") -> int | None:
    """How many commits lead to this one, along first parents: it grows with every merge.

    None outside a git repository, and in a clone whose history is cut short, where counting would mislead.
    """
    if _git(root, "rev-parse", "--is-shallow-repository") != "false":
        return None
    count = _git(root, "rev-list", "--count", "--first-parent", commit)
    return int(count) if count.isdigit() else None


def _git(root: Path, *arguments: str) -> str:
    """What git says, without the line's end; empty where it says nothing."""
    done = _run(root, *arguments)
    return os.fsdecode(done.stdout).strip() if done and done.returncode == 0 else ""


def _output(root: Path, *arguments: str) -> bytes:
    """What git says where it must: a question without an answer is not one that was answered by nothing."""
    done = _run(root, *arguments)
    if done is None or done.returncode:
        said = done.stderr.decode(errors="replace").strip() if done else "no answer"
        raise FleetError(f"git {arguments[0]} failed: {said}", hint="`git status` says more")
    return done.stdout


def _run(root: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes] | None":
    argv = ["git", "-C", str(root), "--no-optional-locks", "--literal-pathspecs", *arguments]
    try:
        return subprocess.run(
            argv, capture_output=True, timeout=_PATIENCE_S, check=False, env=environment(LC_ALL="C")
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
