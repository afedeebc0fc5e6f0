"""Keeps the modules of the verbs that are asked every day as Python compiled them: half of a verb is that.

`state/compiled` belongs to one runtime and one Python, and carries a digest of itself: `loader.kept` takes it
up again, or says that it is not there. Losing it costs a few kilobytes on the wire, and nothing else.
"""

from __future__ import annotations

import hashlib
import importlib
import marshal
import os
from typing import Dict

from .durable import atomic_write
from .files import names, sha256_file
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
        digests = runtime_digests(os.path.join(board.release(release), "runtime"))
        head = head_of(digest_of(digests))
        if is_kept(board.in_state(COMPILED), head):
            return
        for verb in EVERYDAY:
            importlib.import_module(".%s" % verb, __package__)
        if all(digests.get(name) == digest for name, (digest, _) in codes.items()):
            body = marshal.dumps(codes)
            atomic_write(board.in_state(COMPILED), head + hashlib.sha256(body).digest() + body)
    except (OSError, ValueError) as error:
        complain("compiled modules are not kept: %s" % error)


def runtime_digests(folder: str) -> Dict[str, str]:
    """sha256 of each module of a release, by its name."""
    modules = [name for name in names(folder) if name.endswith(".py")]
    return {name[:-3]: str(sha256_file(os.path.join(folder, name))) for name in modules}


def is_kept(path: str, head: bytes) -> bool:
    """Whether these very modules are kept already, and `loader.kept` will have them."""
    try:
        with open(path, "rb") as stream:
            data = stream.read()
    except OSError:
        return False
    own, body = data[len(head) : len(head) + 32], data[len(head) + 32 :]
    return data.startswith(head) and hashlib.sha256(body).digest() == own
