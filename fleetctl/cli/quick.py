"""What can be answered without Typer: the page of `--help`, the version, and what was validated before.

Only command lines that have one meaning are taken, word for word. Whatever else is asked, or cannot be told
at once, is Typer's: it defines every verb and option. A test holds each answer here against its own.
"""

import os
import sys

# As Typer prints it; `python -m fleetctl.cli.help_page` writes it.
HELP = os.path.join(os.path.dirname(__file__), "help.txt")
MANIFEST = "inventory/fleet.yaml"  # `DEFAULT_MANIFEST`, whose module is too dear here
COLUMNS = 80  # that Typer makes its pages for, where there is room
_COMPLETION = "_FLEETCTL_COMPLETE"  # a shell asks what could be written, and wants no answer


def answered(words: list[str]) -> bool:
    """Whether the command line was one of these, and its answer has been printed: the exit status is 0."""
    if _COMPLETION in os.environ:
        return False
    text = _answer(words)
    if text is None:
        return False
    try:
        print(text, flush=True)
    except (OSError, ValueError):  # closed, or not for these characters: Typer knows what to do
        return False
    return True


def _answer(words: list[str]) -> str | None:
    match words:
        case ["--help" | "-h"]:
            return _help()
        case ["--version"]:
            from fleetctl import __version__

            return f"fleetctl {__version__}"
        case ["validate"]:
            return _validated(None)
        case ["validate", "-f" | "--file", file] if not file.startswith("-"):
            return _validated(file)
    return None


def _help() -> str | None:
    """The page, if it is as wide as Typer would make it."""
    if _columns() < COLUMNS:
        return None
    with open(HELP, encoding="utf-8") as page:
        return page.read().removesuffix("\n")


def _columns() -> int:
    """What `shutil.get_terminal_size` says, which takes three compression libraries to import."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return int(said)
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or COLUMNS  # type: ignore[union-attr]
    except (OSError, ValueError, AttributeError):
        return COLUMNS


def _validated(file: str | None) -> str | None:
    from fleetctl.manifest.remembered import VALID, recall

    said = recall(MANIFEST if file is None else file, VALID)
    return None if said is None else f"{said}: valid"
