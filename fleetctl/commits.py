"""Commits of a fleet's repository, read from git's own objects: the working tree is neither used nor touched.

Every question is one call of git that only reads. What a commit holds is written as it lies in git: no
attribute, filter or hook of the repository has a say in it. Only what git has by its digest alone (Git LFS)
is taken from the files here, where they are those very bytes.
"""

import hashlib
import os
import re
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from fleetctl.children import environment
from fleetctl.commit_signers import SIGNERS, trusting
from fleetctl.errors import FleetError, Problem, Refused, UsageError
from fleetctl.project import Project
from fleetctl.revision import demand_plain, linked, uncommitted
from fleetctl.store import naming

_NO_GIT = 127  # the exit status of a program that is not there
_TIMEOUT = 120  # seconds; a question is answered in far less
_PICTURES = (".png", ".PNG", ".npy")
_LARGEST = 64 << 20  # bytes of one file that is taken out of a commit
FETCH = "in CI, check out with the whole history (`fetch-depth: 0`)"
WHOLE = "`git fsck` says whether it is whole"
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-.*\n)*oid sha256:([0-9a-f]{64})\nsize (\d+)\n"
)
_PHOTOS = ("path", "evaluation", "plates", "crops")  # what names a folder in the datasets that have any


class Commits(Struct, frozen=True):
    """The repository that a fleet's project lies in."""

    project: Project

    @property
    def root(self) -> Path:
        """The folder that paths are told from."""
        return self.project.repository

    @property
    def exist(self) -> bool:
        """Whether there is a repository with at least one commit, and git to read it."""
        return self._succeeds("rev-parse", "--verify", "--quiet", "HEAD^{commit}")

    def resolve(self, name: str) -> str:
        """The full id of the commit that `name` stands for: an id or its start, a branch, `HEAD~1`.

        Raises:
            UsageError: git knows no such commit here.
        """
        if name.startswith("-") or "\0" in name:
            raise UsageError(f"{name!r} names no commit")
        done = self._run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        if done.returncode:
            raise self._unreadable() or UsageError(
                f"git knows no commit {name!r} here", hint=self._way_to_one()
            )
        return done.stdout.decode().strip()

    def _way_to_one(self) -> str:
        """How to come by a commit that is not here."""
        if self.is_shallow:
            return FETCH
        if not self._succeeds("rev-parse", "--verify", "--quiet", "HEAD"):
            return "there is none yet: `git add --all` and `git commit` begin the fleet's history"
        if not self.exist:
            return WHOLE
        return "`git log` lists commits; `git fetch` brings those of others"

    @property
    def is_shallow(self) -> bool:
        """Whether the history was cut short when the repository was cloned."""
        return self._succeeds_saying("true", "rev-parse", "--is-shallow-repository")

    def demand_trusted(self) -> None:
        """See that git reads this folder and what the fleet is read from. Outside a repository anything goes.

        Raises:
            UsageError: there is a repository that git does not read, so it would seem to have no history; or
                the fleet lies behind a link, so it would seem not to change.
        """
        if self.marker and (why := self._unreadable()):
            raise why
        demand_plain(self.project)

    @property
    def marker(self) -> Path | None:
        """The `.git` that says that a repository is here, whether git can open it or not."""
        root = self.root.absolute()
        return next((mark for folder in (root, *root.parents) if (mark := folder / ".git").exists()), None)

    def _unreadable(self) -> UsageError | None:
        """Why git tells nothing of this repository at all; None where it does."""
        done = self._run("rev-parse", "--git-dir")
        if not done.returncode:
            return None
        said = done.stderr.decode(errors="replace")
        if foreign := _foreign(said):
            return foreign
        if done.returncode == _NO_GIT:
            return UsageError("git is not installed", hint="install it: commits are read by git itself")
        if mark := self.marker:
            return UsageError(
                f"git does not read {mark}: {said.strip() or 'it says nothing'}",
                hint="see that what it leads to is here and whole; `git status` says more",
            )
        if "not a git repository" in said:
            return UsageError(f"{self.root} lies in no git repository", hint="`git init` makes one")
        return UsageError(f"git cannot read {self.root}: {said.strip() or 'it says nothing'}")

    def is_known(self, commit: str) -> bool:
        """Whether this full id is a commit that some branch or tag, or what is checked out, leads to."""
        if not self._succeeds("cat-file", "-e", f"{commit}^{{commit}}"):
            return False
        found = self._run("for-each-ref", "--count=1", f"--contains={commit}")
        return bool(found.stdout.strip()) or self._succeeds("merge-base", "--is-ancestor", commit, "HEAD")

    def is_pushed(self, commit: str) -> bool:
        """Whether a branch of a remote repository, as last fetched or pushed, has this commit."""
        return bool(
            self._run("for-each-ref", "--count=1", f"--contains={commit}", "refs/remotes/").stdout.strip()
        )

    def is_before(self, commit: str, other: str) -> bool:
        """Whether `other` came from `commit`, and is not the same."""
        return commit != other and self._succeeds("merge-base", "--is-ancestor", commit, other)

    def changed_files(self) -> list[str]:
        """Files of the fleet that differ from what is checked out, or that git does not have.

        Raises:
            UsageError, FleetError: as `revision.uncommitted`.
        """
        return uncommitted(self.project)

    def is_same_fleet(self, commit: str, models: Mapping[str, Any]) -> bool:
        """Whether every file of the fleet, and every photo of these models, lies here as in this commit.

        Raises:
            UsageError, FleetError: as `revision.uncommitted`.
        """
        photos = [where for folder in photo_folders(models) if (where := self._inside(folder))]
        same = self._succeeds("diff", "--quiet", commit, "--", *self._paths, *photos)
        return same and not self.changed_files() and not self._has_new(photos)

    @property
    def _paths(self) -> tuple[str, str]:
        """The folders of a fleet."""
        return self.project.inventory.name, self.project.artifacts.name

    def _inside(self, folder: Path) -> str:
        """A folder as git's paths name it; empty for one outside of the repository, which git cannot know."""
        top = os.fsdecode(self._run("rev-parse", "--show-toplevel").stdout.removesuffix(b"\n"))
        real = Path(os.path.realpath(folder))
        return os.path.relpath(real, os.path.realpath(self.root)) if top and real.is_relative_to(top) else ""

    def _has_new(self, folders: list[str]) -> bool:
        """Whether there are files that git does not have yet, or it cannot say."""
        done = self._run("ls-files", "-o", "--exclude-standard", "--", *folders)
        return bool(folders and (done.stdout or done.returncode))

    def since(self, commit: str) -> list[str]:
        """Commits from this one (without it) to what is checked out that change the fleet, the oldest first.

        A merge is one change: what it brings, and not what lies behind it on its branch. There are none where
        what is checked out did not come from `commit`.
        """
        way = ("--first-parent", "--ancestry-path", "--reverse", f"{commit}..HEAD")
        return self.must("rev-list", *way, "--", *self._paths).decode().split()

    def up_to(self, commit: str) -> dict[str, int]:
        """This commit (0) and all that came before it, numbered from the nearest on."""
        found = self.must("rev-list", "--topo-order", commit).decode().split()
        return {each: place for place, each in enumerate(found)}

    def demand_signature(self, commit: str, signers: str = "") -> None:
        """Raise unless git verifies the commit's signature.

        Args:
            signers: who is trusted, and nobody else: lines of ssh's allowed signers, and armoured public keys
                of OpenPGP. Empty: whoever git was told to trust.

        Raises:
            Refused: there is no signature, or none that is trusted.
            UsageError: `signers` cannot be read.
        """
        with trusting(signers) as (settings, environ):
            done = self._run(*settings, "verify-commit", "--", commit, environ=environ)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            why = f": {said[-1]}" if said else ""
            raise Refused(
                f"commit {commit[:12]} has no signature that git trusts{why}; nothing was changed",
                hint="`git log --show-signature` shows it; "
                f"{SIGNERS} or git's `gpg.ssh.allowedSignersFile` says who is trusted",
            )

    def write_out(
        self, commit: str, folder: Path, paths: Iterable[str] = (), *, without: tuple[str, ...] = ()
    ) -> None:
        """Write what a commit holds (of `root`; `paths` below it: those only) into an empty `folder`.

        Left out are submodules, files over 64 MiB, and those whose names end in one of `without`. A file that
        lies in Git LFS is taken from the files here where they have it, else its pointer is written.

        Raises:
            FleetError: git cannot read the commit.
            WriteError: `folder` does not take it.
        """
        entries = [each for each in self._entries(commit, paths) if not each.path.name.endswith(without)]
        links = []
        for entry, data in zip(entries, self.contents([entry.blob for entry in entries]), strict=True):
            target = folder / entry.path
            if entry.is_link:
                links.append((target, data))
                continue
            with naming(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(self._pointed_at(data, entry.path) or data)
        for target, data in links:  # last, so that no file is written through one
            with naming(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(os.fsdecode(data))

    def _pointed_at(self, data: bytes, path: PurePosixPath) -> bytes:
        """What a pointer of Git LFS stands for, if the file here has these very bytes; else nothing."""
        found = _POINTER.fullmatch(data)
        if not found:
            return b""
        try:
            size = (self.root / path).stat().st_size
            here = (self.root / path).read_bytes() if size == int(found[2]) <= _LARGEST else b""
        except OSError:
            return b""
        return here if hashlib.sha256(here).hexdigest() == found[1].decode() else b""

    def why_no_photos(self, then: Project, models: Mapping[str, Any]) -> UsageError | None:
        """What keeps photos of these models out of `then`, written out of a commit; None if nothing does."""
        for folder in photo_folders(models):
            where = os.path.relpath(os.path.realpath(folder), os.path.realpath(then.root))
            if module := self._submodule(then.commit, where):
                return UsageError(
                    f"the photos in {where} lie in the submodule {module}, whose files no commit has",
                    hint="keep photos in the repository itself, best below the manifest's folder",
                )
            if pointer := next((path for path in _files(folder) if _is_pointer(path)), None):
                photo = f"{where}/{pointer.relative_to(folder)}"
                return UsageError(
                    f"{photo} lies in Git LFS, and the file here is not the commit's",
                    hint="check the commit out, and `git lfs pull` (in GitHub Actions: `lfs: true`); "
                    "or keep photos in git itself",
                )
        return None

    def _submodule(self, commit: str, path: str) -> str:
        """The submodule that a path of a commit lies in, or has in it; empty where there is none."""
        above = [str(each) for each in PurePosixPath(path).parents if each.name]
        listed = self._run("ls-tree", "-r", "-z", commit, "--", path).stdout
        listed += self._run("ls-tree", "-z", commit, "--", *above).stdout if above else b""
        modules = [line.partition(b"\t")[2] for line in listed.split(b"\0") if line.startswith(b"160000 ")]
        return os.fsdecode(modules[0]) if modules else ""

    def _entries(self, commit: str, paths: Iterable[str]) -> Iterator["_Entry"]:
        listed = self.must("ls-tree", "-r", "-l", "-z", commit, "--", *paths)
        for line in listed.split(b"\0"):
            head, _, path = line.partition(b"\t")
            mode, _, blob, size = head.split() if head else (b"", b"", b"", b"-")
            name = PurePosixPath(os.fsdecode(path))
            safe = not name.is_absolute() and not {"..", ".git"} & {part.lower() for part in name.parts}
            if size.isdigit() and int(size) <= _LARGEST and safe:
                yield _Entry(name, blob.decode(), stat.S_ISLNK(int(mode, 8)))

    def contents(self, blobs: list[str]) -> Iterator[bytes]:
        """The bytes of blobs, in order, by one `git cat-file`."""
        said = self.must("cat-file", "--batch", data="".join(f"{blob}\n" for blob in blobs).encode())
        position = 0
        for _ in blobs:
            end = said.index(b"\n", position)
            blob, *kind = said[position:end].split()
            if len(kind) < 2:  # of a repository that lost it
                raise FleetError(f"git lacks object {blob.decode()}", hint="`git fsck` says what else")
            size = int(kind[1])
            yield said[end + 1 : end + 1 + size]
            position = end + size + 2

    def must(self, *arguments: str, data: bytes = b"") -> bytes:
        """What git answers to a question that it must have an answer to; `data` is what it reads.

        Raises:
            FleetError: it has none.
        """
        done = self._run(*arguments, data=data)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise FleetError(f"git {arguments[0]} failed: {said}", hint=WHOLE)
        return done.stdout

    def _succeeds(self, *arguments: str) -> bool:
        return self._run(*arguments).returncode == 0

    def _succeeds_saying(self, wanted: str, *arguments: str) -> bool:
        return self._run(*arguments).stdout.decode().strip() == wanted

    def _run(
        self, *arguments: str, data: bytes = b"", environ: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[bytes]":
        argv = ["git", "-C", str(self.root), "--no-optional-locks", "--literal-pathspecs", *arguments]
        settings = environment(GIT_TERMINAL_PROMPT="0", LC_ALL="C", **(environ or {}))
        try:
            return subprocess.run(
                argv, input=data, capture_output=True, timeout=_TIMEOUT, check=False, env=settings
            )
        except FileNotFoundError:
            return subprocess.CompletedProcess(argv, _NO_GIT, b"", b"git is not installed")
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(argv, 124, b"", b"no answer in two minutes")


class _Entry(Struct, frozen=True):
    """A file or a link of a commit."""

    path: PurePosixPath
    blob: str
    is_link: bool


def _foreign(said: str) -> UsageError | None:
    """What git says where it reads no repository of another user's, such as one mounted into a container."""
    found = re.search(r"dubious ownership in repository at '(.+)'", said)
    return found and UsageError(
        f"git does not read {found[1]}: it belongs to somebody else",
        hint=f"if you trust it: `git config --global --add safe.directory {found[1]}`",
    )


def project_at(project: Project, commit: str, folder: Path, *, whole: bool, cards: bool = False) -> Project:
    """`project` as it was at `commit`, written into an empty `folder`; store and state stay where they are.

    `whole` takes every file: photos too, which decide whether the lock is up to date. `cards` takes those of
    models, with their plots.

    Raises:
        UsageError: the fleet of the commit, or the one here, lies behind a link.
        FleetError: git cannot read the commit.
    """
    commits = Commits(project)
    inventory, lock = project.decisive
    if whole:
        commits.write_out(commit, folder)
    else:
        commits.write_out(commit, folder, [inventory], without=_PICTURES)
        commits.write_out(commit, folder, [project.artifacts.name if cards else lock])
    then = Project(folder / inventory / project.manifest.name, home=project.repository, commit=commit)
    if link := linked(then, folder):
        raise UsageError(
            f"{link.relative_to(folder)} of commit {commit[:12]} is a link: git keeps no fleet in it",
            hint="commit what it leads to in its place",
        )
    return then


def in_repository(problem: Problem, folder: Path) -> Problem:
    """A problem of what was written to `folder`, under the paths of the repository: the folder is to go."""
    file = Path(problem.file).absolute()
    place = str(file.relative_to(folder)) if file.is_relative_to(folder) else problem.file
    return replace(problem, file=place, what=problem.what.replace(f"{folder}/", ""))


def as_of(commit: str, path: str) -> str:
    """A file of a commit, as git names it from the fleet's folder."""
    return f"{commit[:12]}:{path}"


def photo_folders(models: Mapping[str, Any]) -> Iterator[Path]:
    """Where the photos of these models (of a manifest) lie."""
    for model in models.values():
        found = (getattr(model.dataset, name, None) for name in _PHOTOS)
        yield from (folder for folder in found if isinstance(folder, Path))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _is_pointer(path: Path) -> bool:
    with path.open("rb") as stream:
        return _POINTER.fullmatch(stream.read(1024)) is not None
