"""The board's modules as one script, for a board that has no release of ours, or one with other modules.

A script is `device/loader.py` with one call behind it. `whole` brings every module that `activate.py`
imports; `by_digest` only says what they are to a board that keeps the very same, compiled.
"""

import ast
import json
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import PurePath

from fleetctl.device import loader
from fleetctl.device.activate import VERBS
from fleetctl.device.compiled import EVERYDAY
from fleetctl.device.loader import NOT_KEPT
from fleetctl.render.sources import board_runtime
from fleetctl.store import sha256
from fleetctl.transports.base import Holding

_PARSING = threading.Lock()  # Python 3.11 breaks where threads parse at once, and boards are asked by many
_KEPT = frozenset({"COMPILED", "NOT_KEPT", "head_of", "kept"})

__all__ = ["NOT_KEPT", "VERBS", "by_digest", "is_everyday", "is_kept", "modules", "runtime_digest", "whole"]


def whole(verb: str | None = None) -> bytes:
    """The script with the modules of one verb inside; None is for all verbs."""
    with _PARSING:
        return _whole(verb)


@cache
def _whole(verb: str | None) -> bytes:
    texts = json.dumps({name: source.decode() for name, source in modules(verb).items()})
    return _bare(_loader(), without=frozenset({"kept"})) + f"\n\nrun({texts}, {{}})\n".encode()


def is_everyday(verb: str) -> bool:
    """Whether boards keep the modules of a verb, and `by_digest` may be asked for it."""
    return VERBS[verb] in EVERYDAY


def by_digest(root: str) -> bytes:
    """The script that runs the modules that are kept in `root`, with the loader that is among them.

    It exits `NOT_KEPT` where they are not the very modules that a release of ours brings.
    """
    call = f"codes = kept({root!r}, {runtime_digest()!r})\n"
    run = "exec(codes['loader'][1])\nrun({}, codes)\n"
    with _PARSING:
        keeper = _bare(_loader(), only=_KEPT)
    return keeper + f"\n\n{call}{run}".encode()


def runtime_digest() -> str:
    """One digest of all modules that a release of ours brings."""
    return loader.digest_of(_runtime())


def is_kept(holding: Holding | None) -> bool:
    """Whether a board keeps the modules; where nobody has looked, it is worth a try."""
    return holding is None or holding.modules == runtime_digest()


@cache
def modules(verb: str | None = None) -> Mapping[str, bytes]:
    """Sources of `activate` and of all that it and a verb import, by name; None is for all verbs."""
    folder = files("fleetctl.device")
    found: dict[str, bytes] = {}
    wanted = {"activate", *(VERBS.values() if verb is None else [VERBS[verb]])}
    if verb in ("activate", "prepare"):
        wanted |= {*EVERYDAY}  # which it compiles for the board to keep
    while wanted:
        name = wanted.pop()
        found[name] = folder.joinpath(f"{name}.py").read_bytes()
        wanted |= _siblings(found[name]) - found.keys()
    return dict(sorted(found.items()))


@cache
def _runtime() -> Mapping[str, str]:
    """sha256 of each module that a release of ours brings, by its name."""
    return {PurePath(path).stem: sha256(source) for path, source in board_runtime().items()}


def _siblings(source: bytes) -> set[str]:
    """Modules of its own package that a module imports, wherever in it."""
    found = set[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            found |= {node.module} if node.module else {alias.name for alias in node.names}
    return found


def _loader() -> bytes:
    return files("fleetctl.device").joinpath("loader.py").read_bytes()


@cache
def _bare(
    source: bytes, *, only: frozenset[str] = frozenset(), without: frozenset[str] = frozenset()
) -> bytes:
    """A script as it is sent, with every word to a board: no comments, no annotations, no idle functions.

    With `only`, nothing but these names and the modules that they use.
    """
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if not _names(node) & without]
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
    if only:
        tree.body = _with_imports(tree.body, only)
    return ast.unparse(tree).encode()


def _with_imports(body: Sequence[ast.stmt], names: frozenset[str]) -> list[ast.stmt]:
    """What defines these names, behind the imports that it uses."""
    kept = [node for node in body if _names(node) & names]
    used = {word.id for node in kept for word in ast.walk(node) if isinstance(word, ast.Name)}
    imports = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    return [*(node for node in imports if _names(node) & used), *kept]


def _names(node: ast.stmt) -> set[str]:
    """What a statement at the top of a module defines."""
    match node:
        case ast.Import() | ast.ImportFrom():
            return {alias.asname or alias.name for alias in node.names}
        case ast.Assign():
            return {target.id for target in node.targets if isinstance(target, ast.Name)}
        case ast.FunctionDef() | ast.ClassDef():
            return {node.name}
    return set()
