"""The files that a new fleet begins with. What is there already is never touched."""

import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from fleetctl.errors import UsageError, WriteError
from fleetctl.manifest.json_schema import json_schema_text
from fleetctl.project import DEFAULT_MANIFEST
from fleetctl.store import Writes, all_or_none

IGNORED = ("model_artifacts/store/", ".fleetctl/")


def starter_files(templates: Mapping[str, str]) -> dict[Path, str]:
    """Path below the fleet's folder -> text. `templates` are those that boards' files are rendered from."""
    manifest = files("fleetctl.manifest").joinpath("starter.yaml").read_text("utf-8")
    ignored = "".join(f"{pattern}\n" for pattern in IGNORED)
    folder = DEFAULT_MANIFEST.parent / "templates"
    return {
        DEFAULT_MANIFEST: manifest,
        DEFAULT_MANIFEST.with_name("schema.json"): json_schema_text(),
        **{folder / name: text for name, text in sorted(templates.items())},
        Path(".gitignore"): ignored,
    }


def write_missing(folder: Path, wanted: Mapping[Path, str]) -> tuple[list[Path], list[Path]]:
    """Write the `wanted` files that `folder` lacks; return the paths written and those left as they were.

    Raises:
        UsageError: `folder`, or a folder in it, is not a folder.
        WriteError: the system refuses to write; of what was written, nothing is left.
    """
    targets = {folder / path: text for path, text in wanted.items()}
    kept = [target for target in targets if os.path.lexists(target)]
    written = [target for target in targets if target not in kept]
    with all_or_none() as write:
        for target in written:
            _write(write, target, targets[target])
    return written, kept


def _write(write: Writes, target: Path, text: str) -> None:
    try:
        write(target, text)
    except WriteError as error:
        if isinstance(error.__cause__, NotADirectoryError | FileExistsError):
            raise UsageError(error.message, hint="choose another folder") from None
        raise


def unignored(gitignore: Path) -> list[str]:
    """The patterns that an existing .gitignore lacks."""
    lines = {line.strip() for line in gitignore.read_text("utf-8", errors="replace").splitlines()}
    return [pattern for pattern in IGNORED if pattern not in lines]
