"""Commits of a fleet's repository, read from git's own objects: the working tree is neither used nor touched.

Every question is one call of git that only reads. What a commit holds is written as it lies in git: no
attribute, filter or hook of the repository has a say in it.
"""

import os
import re
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from msgspec import Struct

from fleetctl.children import environment
from fleetctl.commit_signers import SIGNERS, trusting
from fleetctl.errors import FleetError, UsageError
from fleetctl.project import Project

_TIMEOUT = 120  # seconds; a question is answered in far less
_PICTURES = (".png", ".PNG", ".npy")
_LARGEST = 64 << 20  # bytes of one file that is taken out of a commit
_FETCH = "in CI, check out with the whole history (`fetch-depth: 0`)"


class Commits(Struct, frozen=True):
    """The repository that a fleet's folder `root` lies in."""

    root: Path

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
            shallow = self._succeeds_saying("true", "rev-parse", "--is-shallow-repository")
            hint = _FETCH if shallow else "`git log` lists commits; `git fetch` brings those of others"
            raise self._unreadable() or UsageError(f"git knows no commit {name!r} here", hint=hint)
        return done.stdout.decode().strip()

    def demand_trusted(self) -> None:
        """See that git does not refuse to read this folder; one that lies in no repository is as good.

        Raises:
            UsageError: the repository belongs to somebody else, so it would seem to have no history.
        """
        if foreign := _foreign(self._run("rev-parse", "--git-dir").stderr.decode(errors="replace")):
            raise foreign

    def _unreadable(self) -> UsageError | None:
        """Why git tells nothing of this repository at all; None where it does."""
        done = self._run("rev-parse", "--git-dir")
        if not done.returncode:
            return None
        said = done.stderr.decode(errors="replace")
        if foreign := _foreign(said):
            return foreign
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

    def changed_files(self) -> list[str]:
        """Files of the fleet that differ from what is checked out, or that git does not have."""
        status = self._run(
            "status", "--porcelain", "-z", "--no-renames", "--", "inventory", "model_artifacts/fleet.lock"
        )
        return [os.fsdecode(entry[3:]) for entry in status.stdout.split(b"\0") if entry]

    def is_same_fleet(self, commit: str) -> bool:
        """Whether every file of the fleet lies here as it does in this commit."""
        same = self._succeeds("diff", "--quiet", commit, "--", "inventory", "model_artifacts")
        return same and not self.changed_files()

    def since(self, commit: str) -> list[str]:
        """Commits from this one (without it) to what is checked out that change the fleet, the oldest first.

        A merge is one change: what it brings, and not what lies behind it on its branch. There are none where
        what is checked out did not come from `commit`.
        """
        way = ("--first-parent", "--ancestry-path", "--reverse", f"{commit}..HEAD")
        return self._must("rev-list", *way, "--", "inventory", "model_artifacts").decode().split()

    def up_to(self, commit: str) -> dict[str, int]:
        """This commit (0) and all that came before it, numbered from the nearest on."""
        found = self._must("rev-list", "--topo-order", commit).decode().split()
        return {each: place for place, each in enumerate(found)}

    def demand_signature(self, commit: str, signers: str = "") -> None:
        """Raise unless git verifies the commit's signature.

        Args:
            signers: who is trusted, and nobody else: lines of ssh's allowed signers, and armoured public keys
                of OpenPGP. Empty: whoever git was told to trust.

        Raises:
            UsageError: there is no signature, or none that is trusted; or `signers` cannot be read.
        """
        with trusting(signers) as (settings, environ):
            done = self._run(*settings, "verify-commit", "--", commit, environ=environ)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            why = f": {said[-1]}" if said else ""
            raise UsageError(
                f"commit {commit[:12]} has no signature that git trusts{why}",
                hint="`git log --show-signature` shows it; "
                f"{SIGNERS} or git's `gpg.ssh.allowedSignersFile` says who is trusted",
            )

    def write_out(
        self, commit: str, folder: Path, paths: Iterable[str] = (), *, without: tuple[str, ...] = ()
    ) -> None:
        """Write what a commit holds (of `root`; `paths` below it: those only) into an empty `folder`.

        Left out are submodules, files over 64 MiB, and those whose names end in one of `without`.

        Raises:
            FleetError: git cannot read the commit.
        """
        entries = [each for each in self._entries(commit, paths) if not each.path.name.endswith(without)]
        links = []
        for entry, data in zip(entries, self._contents([entry.blob for entry in entries]), strict=True):
            target = folder / entry.path
            if entry.is_link:
                links.append((target, data))
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        for target, data in links:  # last, so that no file is written through one
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(os.fsdecode(data))

    def _entries(self, commit: str, paths: Iterable[str]) -> Iterator["_Entry"]:
        listed = self._must("ls-tree", "-r", "-l", "-z", commit, "--", *paths)
        for line in listed.split(b"\0"):
            head, _, path = line.partition(b"\t")
            mode, _, blob, size = head.split() if head else (b"", b"", b"", b"-")
            name = PurePosixPath(os.fsdecode(path))
            safe = not name.is_absolute() and not {"..", ".git"} & {part.lower() for part in name.parts}
            if size.isdigit() and int(size) <= _LARGEST and safe:
                yield _Entry(name, blob.decode(), stat.S_ISLNK(int(mode, 8)))

    def _contents(self, blobs: list[str]) -> Iterator[bytes]:
        """The bytes of blobs, in order, by one `git cat-file`."""
        said = self._must("cat-file", "--batch", data="".join(f"{blob}\n" for blob in blobs).encode())
        position = 0
        for _ in blobs:
            end = said.index(b"\n", position)
            size = int(said[position:end].split()[2])
            yield said[end + 1 : end + 1 + size]
            position = end + size + 2

    def _must(self, *arguments: str, data: bytes = b"") -> bytes:
        done = self._run(*arguments, data=data)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise FleetError(f"git {arguments[0]} failed: {said}", hint="`git fsck` says whether it is whole")
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
            return subprocess.CompletedProcess(argv, 127, b"", b"git is not installed")
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
    """
    commits = Commits(project.root)
    if whole:
        commits.write_out(commit, folder)
    else:
        commits.write_out(commit, folder, ["inventory"], without=_PICTURES)
        commits.write_out(commit, folder, ["model_artifacts" if cards else "model_artifacts/fleet.lock"])
    return Project(folder / "inventory" / project.manifest.name, home=project.root, commit=commit)
