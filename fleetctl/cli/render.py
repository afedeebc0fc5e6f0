"""`fleetctl render`: what a board would get, before it gets it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fleetctl.cli.options import DEFAULT_MANIFEST, FileOption, Output, OutputOption

RENDER_SCHEMA = "fleetctl.render/v1"


def render(
    board: Annotated[str, typer.Argument(metavar="BOARD", help="The board's name.")],
    file: FileOption = DEFAULT_MANIFEST,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the whole release into this new folder.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the files that a board's release is made of.

    The files rendered for it are printed whole. With --out the release is written as the board would hold it,
    model and runtime included.
    """
    from fleetctl.build.resolve import resolve_board
    from fleetctl.manifest.loader import load
    from fleetctl.project import Project
    from fleetctl.render.renderer import Renderer
    from fleetctl.selector import no_such_board

    fleet, project = load(file), Project(file)
    target = fleet.boards.get(board)
    if target is None:
        raise no_such_board(fleet, board)
    artifact = resolve_board(target, fleet, project)
    renderer = Renderer.of(project.templates)
    rendered = renderer.render(target, artifact, fleet.models[target.model].smoke)
    release = renderer.assemble(artifact, rendered)
    if out is not None:
        _write(release, {**rendered, **renderer.runtime}, project, out)
    _emit(board, release, rendered, output)


def _write(release: Any, made: Mapping[str, bytes], project: Any, out: Path) -> None:
    """Files that were `made` as they are, those of the artifact from the store, to which nothing is added."""
    from fleetctl.errors import UsageError
    from fleetctl.report.console import talk
    from fleetctl.store import BlobStore, all_or_none

    store = BlobStore(project.store)

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already", hint="name a folder that does not exist yet")
    with all_or_none() as write:
        for path, ref in release.files.items():
            write(out / path, made[path] if path in made else store.get(ref.sha256))
        write(out / "release.json", release.manifest)  # last: its being there says that all of it is
    talk.done(f"{len(release.files) + 1} files in {out}")


def _emit(board: str, release: Any, rendered: dict[str, bytes], output: Output) -> None:
    from fleetctl.report.console import emit_json, emit_markdown_table, emit_table, emit_text, printable

    columns = ["file", "sha256", "bytes"]
    rows = [[path, ref.sha256[:12], str(ref.size)] for path, ref in sorted(release.files.items())]
    if output is Output.JSON:
        files = {path: {"sha256": ref.sha256, "size": ref.size} for path, ref in release.files.items()}
        texts = {path: data.decode() for path, data in rendered.items()}
        emit_json(
            RENDER_SCHEMA, {"board": board, "release": release.digest, "files": files, "rendered": texts}
        )
        return
    emit_text(f"release {release.digest} of {board}\n")
    (emit_markdown_table if output is Output.MARKDOWN else emit_table)(columns, rows)
    for path, data in rendered.items():
        emit_text(f"\n==> {path}\n{printable(data.decode())}")
