"""What is in the layers of a base: its interpreter, and the packages of its Debian.

Each layer is read to its end, and held against the digest that the image's config has of it: an engine that
unpacks it would refuse it only on the board.
"""

import gzip
import hashlib
import re
import tarfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import IO, cast

from fleetctl.errors import BuildError

_INTERPRETERS = ("usr/local/bin/python{}", "usr/bin/python{}")
_PACKAGES = "var/lib/dpkg/status"
_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20
# What gzip, zlib and tarfile say of bytes that are not theirs; of some headers tarfile lets a ValueError out.
_DAMAGE = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError)


def looked_into(
    layers: Iterable[tuple[Path, str]], image: str, python: tuple[int, int]
) -> tuple[str, dict[str, str]]:
    """The absolute path of the interpreter, empty where there is none, and Debian's packages with versions.

    Args:
        layers: from the bottom, with the `diff_id` that the image's config has of each.

    Raises:
        BuildError: a layer is damaged, or not compressed with gzip.
    """
    wanted = [each.format(f"{python[0]}.{python[1]}") for each in _INTERPRETERS]
    found: dict[str, bytes] = {}
    for path, diff_id in layers:
        found |= _files(path, diff_id, {*wanted, _PACKAGES}, image)
    interpreter = next((f"/{each}" for each in wanted if each in found), "")
    return interpreter, dict(_installed(found.get(_PACKAGES, b"").decode(errors="replace")))


class _Hashed:
    """A stream that takes the digest of what is read from it."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream, self._hash = stream, hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._hash.update(data)
        return data

    def digest_of_all(self) -> str:
        """The digest of everything, what was not asked for among it."""
        while self.read(_CHUNK):
            pass
        return self._hash.hexdigest()


def _files(path: Path, diff_id: str, wanted: Collection[str], image: str) -> dict[str, bytes]:
    """Those of the wanted files that a layer has."""
    with path.open("rb") as stream:
        if stream.read(len(_GZIP)) != _GZIP:
            raise BuildError(
                f"a layer of {image} is not compressed with gzip", hint="take an image whose layers are"
            )
    try:
        with gzip.open(path) as unpacked:
            hashed = _Hashed(unpacked)
            found = dict(_members(hashed, wanted))
            digest = f"sha256:{hashed.digest_of_all()}"
    except _DAMAGE as error:
        raise _damaged(path, image, str(error)) from error
    if digest != diff_id:
        raise _damaged(path, image, f"unpacked it is {digest}, and the image's config says {diff_id}")
    return found


def _members(stream: _Hashed, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|") as tar:
        for member in tar:
            name = member.name.removeprefix("./").lstrip("/")
            file = tar.extractfile(member) if name in wanted and member.isfile() else None
            if file is not None:
                yield name, file.read()


def _damaged(path: Path, image: str, why: str) -> BuildError:
    return BuildError(
        f"a layer of {image} is damaged: {why}",
        hint=f"delete {path} to have it fetched again; if it arrives like this, push the image anew",
    )


def _installed(status: str) -> Iterator[tuple[str, str]]:
    for paragraph in status.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in paragraph.splitlines() if re.match(r"[A-Z][\w-]*: ", line)
        )
        if fields.get("Status", "").endswith(" installed") and "Package" in fields and "Version" in fields:
            yield fields["Package"], fields["Version"]
