"""Keeps the modules of the verbs that are asked every day as Python compiled them: half of a verb is that.

`state/compiled` belongs to one runtime and one Python, and carries a digest of itself: `loader.kept` takes it
up again, or says that it is not there. Losing it costs a few kilobytes on the wire, and nothing else. A board
has it since it was made fit, or since its first release by another version of ours.
"""

from __future__ import annotations

import hashlib
import importlib
import marshal
import os
from typing import Dict, Mapping, Optional

from .durable import atomic_write
from .files import names, sha256_file
from .layout import Board
from .loader import COMPILED, digest_of, head_of
from .talk import complain

# Modules of verbs; what these import is kept with them.
EVERYDAY = ("activate_verb", "inventory_verbs", "observe", "service_verbs", "settle_verbs")


def keep_those_of(board: Board, release: str) -> None:
    """Keep this process's own modules, if they are those of the release."""
    try:
        digests = runtime_digests(os.path.join(board.release(release), "runtime"))
    except OSError as error:
        complain("compiled modules are not kept: %s" % error)
    else:
        keep_compiled(board, digest_of(digests), digests)


def keep_compiled(board: Board, runtime: str, digests: Optional[Mapping[str, str]] = None) -> None:
    """Keep this process's own modules, if they came as text, as those of the runtime that has this digest.

    With `digests`, of each module of that runtime, only if they are the very same.
    """
    importer = __spec__.loader
    codes = getattr(importer, "codes", None)
    if codes is None:  # imported from files
        return
    try:
        head = head_of(runtime)
        if is_kept(board.in_state(COMPILED), head):
            return
        for verb in EVERYDAY:
            importlib.import_module(".%s" % verb, __package__)
        if digests is None or all(digests.get(name) == digest for name, (digest, _) in codes.items()):
            body = marshal.dumps(codes)
            atomic_write(board.in_state(COMPILED), head + hashlib.sha256(body).digest() + body)
    except (OSError, ValueError) as error:
        complain("compiled modules are not kept: %s" % error)


def kept_runtime(board: Board) -> Optional[str]:
    """The digest of the runtime whose modules are kept for this very Python, by what the file says itself."""
    try:
        with open(board.in_state(COMPILED), "rb") as stream:
            head = stream.read(len(head_of("0" * 64)))
    except OSError:
        return None
    digest = head[:64].decode("ascii", "replace")
    return digest if head == head_of(digest) else None


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
