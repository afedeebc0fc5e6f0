"""The files that a new fleet begins with. What is there already is never touched."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from fleetctl.errors import FleetError, UsageError
from fleetctl.manifest.json_schema import json_schema_text
from fleetctl.project import DEFAULT_MANIFEST
from fleetctl.store import atomic_write

IGNORED = ("model_artifacts/store/", ".fleetctl/")
_ELSEWHERE = "choose another folder"


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
        UsageError: `folder`, or a folder in it, is not a folder or may not be written to.
    """
    written, kept = [], []
    for path, text in wanted.items():
        target = folder / path
        try:
            if target.exists() or target.is_symlink():
                kept.append(target)
                continue
            atomic_write(target, text)
        except OSError as error:
            raise UsageError(f"cannot write {target}: {error.strerror}", hint=_ELSEWHERE) from None
        except FleetError as error:  # the store's own word for the same
            raise UsageError(error.message, hint=_ELSEWHERE) from None
        written.append(target)
    return written, kept


def unignored(gitignore: Path) -> list[str]:
    """The patterns that an existing .gitignore lacks."""
    lines = {line.strip() for line in gitignore.read_text("utf-8", errors="replace").splitlines()}
    return [pattern for pattern in IGNORED if pattern not in lines]
