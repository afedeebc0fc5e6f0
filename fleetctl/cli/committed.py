"""The fleet of one exact commit, for verbs that write to boards: `--commit`."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from fleetctl.cli.options import never_empty
from fleetctl.commit_signers import SIGNERS
from fleetctl.commits import Commits, in_repository, project_at
from fleetctl.errors import BuildError, FleetError, GateRefused, LockStale, ManifestError, Refused, UsageError
from fleetctl.listed import listed
from fleetctl.project import Project

REQUIRED_SIGNATURE = "FLEETCTL_REQUIRE_SIGNED_COMMIT"

CommitOption = Annotated[
    str,
    typer.Option(
        "--commit",
        metavar="REV",
        callback=never_empty("the files here"),
        help="What this very commit says, not the files here.",
    ),
]
AllowDirtyOption = Annotated[
    bool, typer.Option("--allow-dirty", help="With --commit: though the files here differ from git.")
]
AllowUnpushedOption = Annotated[
    bool, typer.Option("--allow-unpushed", help="With --commit: though no remote has it.")
]
SignedOption = Annotated[
    bool,
    typer.Option(
        "--signed",
        envvar=REQUIRED_SIGNATURE,
        help="With --commit: refuse it unless git trusts its signature.",
    ),
]
AdoptOption = Annotated[
    bool, typer.Option("--adopt", help="Overwrite releases that this repository's history does not know.")
]


@contextmanager
def project_of(file: Path, rev: str, *, dirty: bool, unpushed: bool, signed: bool) -> Iterator[Project]:
    """The project as `rev` has it, in a folder that goes with the block; the files here where `rev` is empty.

    Where the lock cannot be held against photos because no commit holds them (a submodule's, Git LFS's), the
    error says so.

    Raises:
        UsageError: git knows no such commit, or does not read the repository, or the fleet in it; or a commit
            is wanted, and none named.
        Refused: files here differ from git, or no remote has the commit, and that was not allowed; or a
            signature is wanted, and git trusts none of it.
    """
    project = Project(file)
    if not rev:
        _refuse_without_commit({"--signed": signed, "--allow-dirty": dirty, "--allow-unpushed": unpushed})
        Commits(project).demand_trusted()  # receipts would name no commit, and older ones pass for newer
        yield project
        return
    commits = Commits(project)
    commit = commits.resolve(rev)
    _demand_clean(commits, dirty)
    _demand_pushed(commits, commit, unpushed)
    if signed:
        commits.demand_signature(commit, os.environ.get(SIGNERS, ""))
    with TemporaryDirectory(prefix="fleetctl-commit-") as folder:
        then = project_at(project, commit, Path(folder).resolve(), whole=True)
        try:
            yield then
        except ManifestError as error:
            raise ManifestError([in_repository(each, then.root) for each in error.problems]) from None
        except (LockStale, BuildError) as error:
            raise _explained(error, commits, then) from error


def _refuse_without_commit(asked: Mapping[str, bool]) -> None:
    """Whoever asks for a signature must not get the files as they lie here, which nobody signed."""
    for option, is_asked in asked.items():
        if is_asked:
            also = f" (or {REQUIRED_SIGNATURE} is set)" if option == "--signed" else ""
            raise UsageError(
                f"{option} is about a commit, and none is named{also}",
                hint="say which, such as `--commit HEAD`",
            )


def _demand_clean(commits: Commits, allowed: bool) -> None:
    changed = commits.changed_files()
    if changed and not allowed:
        raise Refused(
            f"files here differ from git: {listed(changed, 3)}; nothing was changed",
            hint="commit them, or say --allow-dirty to go on with the commit alone",
        )


def _demand_pushed(commits: Commits, commit: str, allowed: bool) -> None:
    if allowed or commits.is_pushed(commit):
        return
    raise Refused(
        f"no remote has commit {commit[:12]}: nobody else could say what boards run; nothing was changed",
        hint="push it, or say --allow-unpushed",
    )


def _explained(error: LockStale | BuildError, commits: Commits, then: Project) -> FleetError:
    """The same error about photos that no commit holds, if they are the reason: no build would mend that.

    Any other names files as they lie in the repository: the folder that they were written to is to go.
    """
    from fleetctl.manifest.loader import load

    if not isinstance(error, GateRefused) and (
        why := commits.why_no_photos(then, load(then.manifest).models)
    ):
        return type(error)(why.message, hint=why.hint)
    return type(error)(error.message.replace(f"{then.root}/", ""), hint=error.hint)
