"""The board's modules as one script, for a board that has no release of ours, or one with other modules.

A script is `device/loader.py` with one call behind it. `whole` brings every module that `activate.py`
imports; `by_digest` only names the blobs that a board has kept of them since its last release.
"""

import ast
import binascii
import json
import zlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from fleetctl.device.activate import VERBS
from fleetctl.device.loader import NOT_KEPT
from fleetctl.store import sha256
from fleetctl.transports.base import Holding

__all__ = ["NOT_KEPT", "VERBS", "by_digest", "is_kept", "modules", "whole"]


@cache
def whole() -> bytes:
    """The script with all of its modules inside."""
    texts = json.dumps({name: source.decode() for name, source in modules().items()})
    packed = binascii.b2a_base64(zlib.compress(texts.encode(), 9), newline=False)
    return _loader() + f"\n\nrun(packed({packed.decode()!r}))\n".encode()


def by_digest(root: str) -> bytes:
    """The script that reads its modules from the blobs in `root`; exits `NOT_KEPT` where one is absent."""
    digests = {name: sha256(source) for name, source in modules().items()}
    return _loader() + f"\n\nrun(kept({root!r}, {digests!r}))\n".encode()


def is_kept(holding: Holding | None) -> bool:
    """Whether a board has the modules; where nobody has looked, it is worth a try."""
    return holding is None or {sha256(source) for source in modules().values()} <= set(holding.files.values())


@cache
def modules() -> Mapping[str, bytes]:
    """Sources of `activate` and of all that it and its verbs import, by name."""
    folder = files("fleetctl.device")
    found: dict[str, bytes] = {}
    wanted = {"activate", *VERBS.values()}
    while wanted:
        name = wanted.pop()
        found[name] = folder.joinpath(f"{name}.py").read_bytes()
        wanted |= _siblings(found[name]) - found.keys()
    return dict(sorted(found.items()))


def _siblings(source: bytes) -> set[str]:
    """Modules of its own package that a module imports, wherever in it."""
    found = set[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            found |= {node.module} if node.module else {alias.name for alias in node.names}
    return found


def _loader() -> bytes:
    return files("fleetctl.device").joinpath("loader.py").read_bytes()
