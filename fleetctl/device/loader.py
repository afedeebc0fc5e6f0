"""Runs the board's modules from texts in memory: what every script that is sent to a board begins with.

It is sent without its comments, with the call of `run` behind it, and writes nothing on the board. What
follows it on standard input, the request and any bundle, is deflated.
"""

from __future__ import annotations

import binascii
import hashlib
import io
import json
import os
import sys
import zlib
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PACKAGE = "fleetctl_device"
FOLDED = "="  # how a line begins that is no JSON yet
WORTH_FOLDING = 1000  # characters of a reply
NOT_KEPT = 93  # exit status where the board has other modules, or none, with the request still unread


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


def kept(root: str, digest: str) -> Mapping[str, str]:
    """Sources of the board's current release, if they are ours; all are read at once, since a verb may delete
    releases, and checked, since one whose bits were flipped could not even be asked to mend itself."""
    folder, sources = os.path.join(root, "current", "runtime"), {}
    try:
        for name in os.listdir(folder):
            if name.endswith(".py"):
                with open(os.path.join(folder, name), "rb") as stream:
                    sources[name[:-3]] = stream.read()
        if digest_of(sources) != digest:
            sys.exit(NOT_KEPT)
        return {name: source.decode("utf-8") for name, source in sources.items()}
    except (OSError, ValueError):
        sys.exit(NOT_KEPT)


def digest_of(sources: Mapping[str, bytes]) -> str:
    """One digest of many sources by their names."""
    digests = ["%s %s" % (hashlib.sha256(sources[name]).hexdigest(), name) for name in sorted(sources)]
    return hashlib.sha256("\n".join(digests).encode("utf-8")).hexdigest()


class Inflated(io.RawIOBase):
    """A stream of deflated members, one behind the other, as what they were."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self._source = source
        self._member = zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        """Raises `EOFError` where a member is damaged."""
        try:
            data = self._inflated(len(target))
        except zlib.error as error:
            raise EOFError(str(error)) from None
        target[: len(data)] = data
        return len(data)

    def _inflated(self, most: int) -> bytes:
        while True:
            fresh = self._member.unconsumed_tail or self._member.unused_data or self._source.read1(1 << 16)
            if self._member.eof:
                self._member = zlib.decompressobj()
            data = self._member.decompress(fresh, most) if fresh else b""
            if data or not (fresh or self._member.unconsumed_tail):
                return data


def folded(reply: str) -> str:
    """A reply as it is sent: deflated, in base 64 behind `FOLDED`, where that pays."""
    if len(reply) < WORTH_FOLDING:
        return reply
    return FOLDED + binascii.b2a_base64(zlib.compress(reply.encode("utf-8"), 9)).decode("ascii")


def run(texts: Mapping[str, str]) -> None:
    """Run `activate.py` with the arguments of this process."""
    sys.meta_path.insert(0, TextImporter(texts))
    sys.stdin = io.TextIOWrapper(io.BufferedReader(Inflated(sys.stdin.buffer), 1 << 16))
    main = __import__(PACKAGE + ".activate", fromlist=["main"]).main
    stdout, sys.stdout = sys.stdout, io.StringIO()
    status = main(sys.argv[1:])
    stdout.write(folded(sys.stdout.getvalue()))
    stdout.flush()
    sys.exit(status)
