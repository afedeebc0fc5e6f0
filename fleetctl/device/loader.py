"""Runs the board's modules from texts in memory: what every script that is sent to a board begins with.

It is sent as it stands, with the call of `run` behind it, and writes nothing on the board.
"""

from __future__ import annotations

import binascii
import hashlib
import json
import os
import sys
import zlib
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from types import ModuleType

PACKAGE = "fleetctl_device"
NOT_KEPT = 93  # exit status where the board lacks one of the blobs, with the request still unread


class TextImporter:
    """Imports the modules of `PACKAGE` from their sources, given by name."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def find_spec(self, name: str, *_about: object) -> ModuleSpec | None:
        package, _, module = name.rpartition(".")
        if name == PACKAGE or (package == PACKAGE and module in self._texts):
            return ModuleSpec(name, self, is_package=name == PACKAGE)  # type: ignore[arg-type]
        return None

    def create_module(self, spec: ModuleSpec) -> None:
        """Python's own kind of module will do."""

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__.rpartition(".")[2]
        exec(compile(self._texts.get(name, ""), name + ".py", "exec"), module.__dict__)  # noqa: S102 - our own


def packed(data: str) -> Mapping[str, str]:
    """Sources as they are sent: JSON, deflated, in base 64."""
    texts: Mapping[str, str] = json.loads(zlib.decompress(binascii.a2b_base64(data)).decode("utf-8"))
    return texts


def kept(root: str, digests: Mapping[str, str]) -> Mapping[str, str]:
    """Sources that the board has among its blobs; all are read at once, since a verb may delete blobs."""
    try:
        return {
            name: _text(os.path.join(root, "blobs", "sha256", blob), blob) for name, blob in digests.items()
        }
    except (OSError, ValueError):
        sys.exit(NOT_KEPT)


def _text(path: str, digest: str) -> str:
    """A source that is what it was; one whose bits were flipped could not even be asked to mend itself."""
    with open(path, "rb") as stream:
        source = stream.read()
    if hashlib.sha256(source).hexdigest() != digest:
        raise ValueError("%s was altered" % path)
    return source.decode("utf-8")


def run(texts: Mapping[str, str]) -> None:
    """Run `activate.py` with the arguments of this process."""
    sys.meta_path.insert(0, TextImporter(texts))
    main = __import__(PACKAGE + ".activate", fromlist=["main"]).main
    sys.exit(main(sys.argv[1:]))
