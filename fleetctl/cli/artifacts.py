"""`fleetctl artifacts`: models between machines. The lock says which bytes; a place keeps them."""

import os
import time
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetctl.cli.group import Verbs
from fleetctl.cli.options import DEFAULT_MANIFEST, FileOption, Output, OutputOption, YesOption
from fleetctl.cli.result import show
from fleetctl.project import Project

if TYPE_CHECKING:
    from fleetctl.artifact import Artifact
    from fleetctl.lockfile import Images
    from fleetctl.pruning import Thing
    from fleetctl.remotes.base import Remote
    from fleetctl.remotes.transfer import Transfer

ARTIFACTS_SCHEMA = "fleetctl.artifacts/v1"
PRUNE_SCHEMA = "fleetctl.prune/v1"
COLUMNS = ["model", "variant", "artifact", "files", "bytes"]
_DAY_S = 86400

app = typer.Typer(
    cls=Verbs,
    help="Push models to where other machines find them, and pull them.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

PlaceArgument = Annotated[
    str,
    typer.Argument(
        metavar="[PLACE]", envvar="FLEETCTL_ARTIFACTS", help="A folder, or oci://HOST/REPOSITORY."
    ),
]


@app.command()
def push(
    place: PlaceArgument = "", file: FileOption = DEFAULT_MANIFEST, output: OutputOption = Output.TABLE
) -> None:
    """Bring what the lock names to a place that keeps it, as far as it lacks it.

    Refused where FLEETCTL_ARTIFACTS_READ_ONLY is set.
    """
    from fleetctl.remotes import transfer
    from fleetctl.remotes.places import demand_writable
    from fleetctl.report.console import talk
    from fleetctl.revision import commit_of
    from fleetctl.store import BlobStore

    remote, project = _open(place), Project(file)
    demand_writable(remote, os.environ)
    artifacts, commit = _locked(project), commit_of(project)
    with talk.progress(f"push to {remote.name}", _size(artifacts)) as moved:
        done = list(
            transfer.push(artifacts, BlobStore(project.store), remote, moved, {"fleetctl.commit": commit})
        )
    _show(done, remote, "pushed", output)


@app.command()
def pull(
    place: PlaceArgument = "", file: FileOption = DEFAULT_MANIFEST, output: OutputOption = Output.TABLE
) -> None:
    """Fetch what the lock names and is not here. Every byte is held against the lock's digests."""
    from fleetctl.remotes import transfer
    from fleetctl.report.console import talk
    from fleetctl.store import BlobStore, Lock

    remote, project = _open(place), Project(file)
    artifacts = _locked(project)
    with (
        Lock(project.state / "pull.lock", "pull of artifacts"),
        talk.progress(f"pull from {remote.name}", _size(artifacts)) as moved,
    ):
        done = list(
            transfer.pull(artifacts, BlobStore(project.store), remote, project.state / "downloads", moved)
        )
    _show(done, remote, "pulled", output)


@app.command()
def check(
    place: PlaceArgument = "", file: FileOption = DEFAULT_MANIFEST, output: OutputOption = Output.TABLE
) -> None:
    """Say whether a place has all that the lock names. Exits 1 where something is missing."""
    from fleetctl.remotes import transfer

    remote = _open(place)
    lacking = transfer.missing(_locked(Project(file)), remote)
    show(
        output,
        schema=ARTIFACTS_SCHEMA,
        data={"place": remote.name, "artifacts": [_json(a, names) for a, names in lacking]},
        columns=["model", "variant", "artifact", "missing"],
        rows=[[a.model, a.variant, a.digest[:12], ", ".join(names)] for a, names in lacking],
        nothing=f"{remote.name} has all that the lock names",
    )
    if lacking:
        raise typer.Exit(1)


@app.command()
def images(
    file: FileOption = DEFAULT_MANIFEST,
    subjects: Annotated[
        Path | None,
        typer.Option("--subjects", help="Write them here as checksums too, for what attests provenance."),
    ] = None,
    new: Annotated[
        bool, typer.Option("--new", help="Only those that the commit here does not lock: just made.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the module images that the lock names, one reference a line: for what signs or verifies them.

    There are none where no board is reached over an IoT Hub. A pipeline signs those that are --new: the
    others somebody has committed, and it does not know who made them.
    """
    from fleetctl.cli.named_file import write_named
    from fleetctl.report import github
    from fleetctl.report.console import emit_json, emit_markdown_table, emit_text, talk

    registry, named = _images(file, new=new)
    if subjects is not None:
        lines = "".join(f"{image['digest']}  {registry}\n" for image in named)
        write_named(subjects, lines, hint="leave --subjects out to see them", new_folder=True)
    references = [f"{registry}@sha256:{image['digest']}" for image in named]
    match output:
        case Output.JSON:
            emit_json("fleetctl.images/v1", {"registry": registry, "images": named})
        case Output.MARKDOWN:
            rows = [[image["model"], image["variant"], image["platform"], image["digest"]] for image in named]
            emit_markdown_table(["model", "variant", "platform", "digest"], rows)
        case Output.TABLE if references:
            emit_text("\n".join(references))
        case Output.TABLE:
            talk.note("the lock names no image" + (" that is new" if new else ""))
    github.set_outputs({"any": bool(named), "registry": registry.partition("/")[0]})


@app.command()
def prune(
    file: FileOption = DEFAULT_MANIFEST,
    older_than: Annotated[
        int, typer.Option("--older-than", metavar="DAYS", min=0, help="Only what was not used for so long.")
    ] = 30,
    yes: YesOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Remove what builds and rollouts left here and no lock names any more.

    Locks that count: of the files here, of every branch and tag, of the last rollout; the one before each;
    and all that were in force in those days. Whatever goes can be built, rendered or fetched again.
    """
    from fleetctl.cli.agreed import ask
    from fleetctl.keeping import at_rest, prunable
    from fleetctl.pruning import remove
    from fleetctl.report.console import talk
    from fleetctl.report.units import bytes_text

    project, since = Project(file), time.time() - older_than * _DAY_S
    _locked(project)
    shown = prunable(project, since)
    _show_prunable(shown, project, output)
    if not shown:
        return
    ask(yes, f"Remove {bytes_text(sum(thing.size for thing in shown))}?")
    agreed = frozenset(shown)
    with at_rest(project):
        gone = [thing for thing in prunable(project, since) if thing in agreed]
        remove(gone)
    talk.done(f"{bytes_text(sum(thing.size for thing in gone))} removed")


def _show_prunable(things: "list[Thing]", project: Project, output: Output) -> None:
    from fleetctl.report.units import bytes_text, duration_text

    now = time.time()
    by_kind = [list(each) for _, each in groupby(things, lambda thing: thing.kind)]
    show(
        output,
        schema=PRUNE_SCHEMA,
        data={
            "bytes": sum(thing.size for thing in things),
            "things": [
                {
                    "kind": thing.kind.value,
                    "path": str(thing.path.relative_to(project.repository)),
                    "bytes": thing.size,
                    "used": thing.used,
                }
                for thing in things
            ],
        },
        columns=["what", "count", "bytes", "last used"],
        rows=[
            [
                each[0].kind.value,
                str(len(each)),
                bytes_text(sum(thing.size for thing in each)),
                f"{duration_text(now - max(thing.used for thing in each))} ago",
            ]
            for each in by_kind
        ],
        nothing="nothing to remove",
    )


def _images(file: Path, *, new: bool) -> tuple[str, list[dict[str, str]]]:
    """The repository that images are kept in, and each that the lock names; if `new`, that only it names."""
    from fleetctl import lockfile
    from fleetctl.cli.over_iothub import settings
    from fleetctl.errors import UsageError
    from fleetctl.manifest.loader import load

    registry = settings(load(file).iothub, os.environ).registry
    project = Project(file)
    locked = lockfile.read(project.lockfile).images
    committed = _digests(_committed(project)) if new else frozenset()
    named = [
        {"model": model, "variant": variant, "platform": platform, "digest": image.digest}
        for model, variants in locked.items()
        for variant, platforms in variants.items()
        for platform, image in platforms.items()
        if image.digest not in committed
    ]
    if named and not registry:
        hint = "write `iothub: {registry: registry.example/team/fleet}` in fleet.yaml"
        raise UsageError("the lock names images, and nothing says where they are kept", hint=hint)
    return registry, named


def _open(place: str) -> "Remote":
    from fleetctl.remotes.places import PASSWORD, open_remote
    from fleetctl.report import github

    github.mask(os.environ.get(PASSWORD, ""))
    return open_remote(place, os.environ)


def _locked(project: Project) -> list["Artifact"]:
    from fleetctl import lockfile
    from fleetctl.errors import LockStale
    from fleetctl.manifest.files import demand_manifest
    from fleetctl.remotes.transfer import artifacts_of

    artifacts = artifacts_of(lockfile.read(project.lockfile))
    if not artifacts:
        demand_manifest(project.manifest)
        raise LockStale(f"{project.lockfile} names no artifact", hint="run `fleetctl build`")
    return artifacts


def _size(artifacts: list["Artifact"]) -> int:
    return sum({ref.sha256: ref.size for a in artifacts for ref in a.files.values()}.values())


def _show(done: list["Transfer"], remote: "Remote", verb: str, output: Output) -> None:
    from fleetctl.report.console import talk
    from fleetctl.report.units import bytes_text, plural

    show(
        output,
        schema=ARTIFACTS_SCHEMA,
        data={"place": remote.name, "artifacts": [_json(each.artifact, each.moved) for each in done]},
        columns=COLUMNS,
        rows=[
            [
                each.artifact.model,
                each.artifact.variant,
                each.artifact.digest[:12],
                ", ".join(each.moved) or "there already",
                bytes_text(each.moved_bytes) if each.moved else "",
            ]
            for each in done
        ],
    )
    total = sum(each.moved_bytes for each in done)
    talk.done(f"{plural(len(done), 'artifact')}, {bytes_text(total)} {verb}")


def _json(artifact: "Artifact", files: Any) -> dict[str, Any]:
    sizes = {name: artifact.files[name].size for name in files}
    return {"model": artifact.model, "variant": artifact.variant, "artifact": artifact.digest, "files": sizes}


def _committed(project: Project) -> "Images":
    """The images of the lock in the commit that is checked out; none where it has no lock."""
    import tempfile

    from fleetctl import lockfile
    from fleetctl.commits import Commits, project_at

    commits = Commits(project)
    commits.demand_trusted()
    if not commits.exist:
        return {}
    with tempfile.TemporaryDirectory(prefix="fleetctl-lock-") as folder:
        return lockfile.read(project_at(project, "HEAD", Path(folder), whole=False).lockfile).images


def _digests(images: "Images") -> frozenset[str]:
    return frozenset(
        image.digest for variants in images.values() for each in variants.values() for image in each.values()
    )
