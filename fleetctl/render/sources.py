"""What releases are rendered from, as it lies on the disk: templates, and the modules that run on a board."""

import re
from pathlib import Path

from fleetctl.checked_json import Malformed
from fleetctl.errors import ManifestError, Problem
from fleetctl.folders import files_in
from fleetctl.leftovers import is_leftover

FOLDER = "inventory/templates"
SUFFIX = ".j2"
_PACKAGE = Path(__file__).parents[1]  # `importlib.resources` would import zipfile to say so
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def board_runtime() -> dict[str, bytes]:
    """What runs on a board: every module of `fleetctl.device`, by its path in the release."""
    return {
        f"runtime/{module.name}": module.read_bytes()
        for module in sorted((_PACKAGE / "device").glob("*.py"))
        if module.name != "__init__.py"  # on a board the modules are scripts side by side, not a package
    }


def packaged_templates() -> dict[str, str]:
    """The templates that fleetctl brings along: in a wheel, and in a source tree."""
    inside = _PACKAGE / "_templates"
    folder = inside if inside.is_dir() else _PACKAGE.parent / FOLDER
    return {file.name: file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(SUFFIX)}


def as_named(folder: Path) -> str:
    """The folder of a fleet's templates as problems name it: from the folder that this runs in, if below."""
    here = Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder)


def read_templates(folder: Path) -> dict[str, str]:
    """The templates of a fleet: those in `folder`, and the packaged ones for what it does not have.

    Raises:
        ManifestError: the folder cannot be listed; or a template is no plain UTF-8 file, is too large, or has
            a name no file should have.
    """
    own, problems = {}, []
    for path in _templates_in(folder):
        try:
            own[path.name] = _read_template(path)
        except Malformed as error:
            problems.append(Problem(f"{as_named(folder)}/{path.name}", error.line, 0, "", error.what))
    if problems:
        raise ManifestError(problems)
    return {**packaged_templates(), **own}


def _templates_in(folder: Path) -> list[Path]:
    try:
        return [path for path in files_in(folder, SUFFIX) if not is_leftover(path.name)]
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise ManifestError([Problem(as_named(folder), 0, 0, "", what)]) from error


def _read_template(path: Path) -> str:
    if not _FILE_NAME.fullmatch(path.name):
        raise Malformed("its name may have letters, digits, dots, dashes and underscores only")
    if path.is_symlink():
        raise Malformed("is a link, and no template leads to other files: put what it leads to in its place")
    if not path.is_file():
        raise Malformed("is not a file")
    try:
        data = path.read_bytes()
        return data.decode()
    except OSError as error:
        raise Malformed(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Malformed("not UTF-8", line=data.count(b"\n", 0, error.start) + 1) from None
