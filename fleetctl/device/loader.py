"""Runs the board's modules from memory: what every script that is sent to a board begins with.

It is sent without its comments, with the call of `run` behind it, and writes nothing on the board. What
follows it on standard input, the request and any bundle, is deflated.
"""

from __future__ import annotations

import binascii
import hashlib
import io
import marshal
import os
import sys
import zlib
from _frozen_importlib_external import MAGIC_NUMBER  # `importlib.util` takes ten times as long
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any, Tuple

PACKAGE = "fleetctl_device"
COMPILED = "compiled"  # in the folder `state`
FOLDED = "="  # how a line begins that is no JSON yet
WORTH_FOLDING = 1000  # characters of a reply
NOT_KEPT = 93  # exit status where the board keeps other modules, or none, with the request still unread


class TextImporter:
    """Imports the modules of `PACKAGE` from their sources, or from what Python made of them before.

    `codes` holds, by name, the sha256 of each module's source and its code; it grows with every import.
    """

    def __init__(self, texts: Mapping[str, str], codes: Mapping[str, Tuple[str, CodeType]]) -> None:
        self._texts = texts
        self.codes = dict(codes)

    def find_spec(self, name: str, *_about: object) -> ModuleSpec | None:
        package, _, module = name.rpartition(".")
        if name == PACKAGE or (package == PACKAGE and (module in self.codes or module in self._texts)):
            return ModuleSpec(name, self, is_package=name == PACKAGE)  # type: ignore[arg-type]
        return None

    def create_module(self, spec: ModuleSpec) -> None:
        """Python's own kind of module will do."""

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__.rpartition(".")[2]
        if module.__name__ != PACKAGE:
            if name not in self.codes:
                self.codes[name] = self.compiled(name, self._texts[name])
            exec(self.codes[name][1], module.__dict__)  # noqa: S102 - our own

    @staticmethod
    def compiled(name: str, text: str) -> Tuple[str, CodeType]:
        digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
        return digest, compile(text, name + ".py", "exec", dont_inherit=True)


def kept(root: str, digest: str) -> Mapping[str, Tuple[str, CodeType]]:
    """What `compiled.py` kept of the modules that have this digest, for this very Python. Whoever altered it
    by a bit has lost it: such a board could not even be asked to mend itself."""
    try:
        with open(os.path.join(root, "state", COMPILED), "rb") as stream:
            data = stream.read()
    except OSError:
        sys.exit(NOT_KEPT)
    head = head_of(digest)
    own, body = data[len(head) : len(head) + 32], data[len(head) + 32 :]
    if not data.startswith(head) or hashlib.sha256(body).digest() != own:
        sys.exit(NOT_KEPT)
    return dict(marshal.loads(body))  # noqa: S302 - as good as its digest


def head_of(digest: str) -> bytes:
    """How a file of modules begins that have this digest, and were compiled by this very Python."""
    return ("%s %s\n" % (digest, MAGIC_NUMBER.hex())).encode("ascii")


def digest_of(digests: Mapping[str, str]) -> str:
    """One digest of many modules, of the sha256 of each by its name."""
    lines = ["%s %s" % (digests[name], name) for name in sorted(digests)]
    return hashlib.sha256("\n".join(lines).encode("utf-8")).hexdigest()


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


def run(texts: Mapping[str, str], codes: Mapping[str, Tuple[str, CodeType]]) -> None:
    """Run `activate.py` with the arguments of this process."""
    sys.meta_path.insert(0, TextImporter(texts, codes))
    sys.stdin = io.TextIOWrapper(io.BufferedReader(Inflated(sys.stdin.buffer), 1 << 16))
    main = __import__(PACKAGE + ".activate", fromlist=["main"]).main
    stdout, sys.stdout = sys.stdout, io.StringIO()
    status = main(sys.argv[1:])
    said = sys.stdout.getvalue()
    # A line of its own: what a login script said before may have ended without one.
    stdout.write("\n" + folded(said) if said else "")
    stdout.flush()
    sys.exit(status)
