"""What verbs about models are given: files to read and write, and models of a kind that they are for."""

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from fleetctl.errors import UsageError

if TYPE_CHECKING:
    from fleetctl.manifest.schema import Fleet, Model

_ELSEWHERE = "give a file in a folder that you may write to"


def model_of(fleet: "Fleet", name: str) -> "Model":
    """The model of this name.

    Raises:
        UsageError: the manifest has none.
    """
    if name not in fleet.models:
        raise UsageError(f"the manifest has no model {name!r}", hint=f"it has {', '.join(fleet.models)}")
    return fleet.models[name]


def demand_reader(model: "Model", what: str) -> None:
    """Raise `UsageError` for a detector: it answers with boxes, not with a sign for each photo."""
    from fleetctl.manifest.schema import Task

    if model.task is not Task.CLASSIFICATION:
        raise UsageError(
            f"{model.name} is a detector; {what}",
            hint=f"`fleetctl models detect PHOTO --model {model.name}` shows what it finds, and its card in "
            f"model_artifacts/{model.name} how much of what is there",
        )


def demand_photo(path: Path) -> None:
    """Raise `UsageError` where there is no such file, or nobody may look; a pipe would be waited for."""
    if not stat.S_ISREG(_mode(path, hint := "give a photo of a wall")):
        raise UsageError(f"{path} is not a file", hint=hint)


def demand_photos(folder: Path) -> None:
    """Raise `UsageError` where there is no such folder, or nobody may look."""
    if not stat.S_ISDIR(_mode(folder, hint := "give a folder of photos with --data")):
        raise UsageError(f"{folder} is not a folder of photos", hint=hint)


def _mode(path: Path, hint: str) -> int:
    try:
        return path.stat().st_mode
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint=hint) from None


def demand_png(path: Path | None) -> None:
    """Raise `UsageError` for a picture's name by which it would be taken for something else than a PNG."""
    if path is not None and path.suffix.lower() not in ("", ".png"):
        raise UsageError(
            f"{path} would be a PNG by another kind's name", hint=f"name it {path.with_suffix('.png')}"
        )


def write_result(path: Path, data: bytes) -> None:
    """Write a picture that the command line asks for.

    Raises:
        UsageError: there cannot be a file, or none that may be written.
        WriteError: the disk is full.
    """
    from fleetctl.cli.named_file import write_named
    from fleetctl.errors import WriteError
    from fleetctl.store import is_out_of_space

    try:
        write_named(path, data, hint=_ELSEWHERE, new_folder=True)
    except WriteError as error:
        if isinstance(error.__cause__, OSError) and is_out_of_space(error.__cause__):
            raise
        raise UsageError(error.message, hint=_ELSEWHERE) from error
