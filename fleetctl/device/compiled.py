"""Keeps the modules of the verbs that are asked every day as Python compiled them: half of a verb is that.

`state/compiled` belongs to one runtime and one Python, and carries a digest of itself: `loader.kept` takes it
up again, or says that it is not there. Losing it costs a few kilobytes on the wire, and nothing else.
"""

from __future__ import annotations

import hashlib
import importlib
import marshal
import os
from typing import Any, Dict, Mapping

from .durable import atomic_write
from .files import names
from .layout import Board
from .loader import COMPILED, digest_of, head_of
from .talk import complain

# Modules of verbs; what these import is kept with them.
EVERYDAY = ("activate_verb", "inventory_verbs", "observe", "service_verbs", "settle_verbs")


def keep_compiled(board: Board, release: str) -> None:
    """Keep this process's own modules, if they are those of the release and came as text."""
    importer = __spec__.loader
    codes = getattr(importer, "codes", None)
    if codes is None:  # imported from files
        return
    try:
        sources = runtime_sources(os.path.join(board.release(release), "runtime"))
        head = head_of(digest_of(sources))
        if head == begin_of(board.in_state(COMPILED), len(head)):
            return
        for verb in EVERYDAY:
            importlib.import_module(".%s" % verb, __package__)
        if are_sources_of(codes, sources):
            body = marshal.dumps(codes)
            atomic_write(board.in_state(COMPILED), head + hashlib.sha256(body).digest() + body)
    except (OSError, ValueError) as error:
        complain("compiled modules are not kept: %s" % error)


def runtime_sources(folder: str) -> Dict[str, bytes]:
    """Source by name of each module of a release."""
    found = {}
    for name in names(folder):
        if name.endswith(".py"):
            with open(os.path.join(folder, name), "rb") as stream:
                found[name[:-3]] = stream.read()
    return found


def are_sources_of(codes: Mapping[str, Any], sources: Mapping[str, bytes]) -> bool:
    return all(
        name in sources and hashlib.sha256(sources[name]).hexdigest() == digest
        for name, (digest, _) in codes.items()
    )


def begin_of(path: str, length: int) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read(length)
    except OSError:
        return b""
