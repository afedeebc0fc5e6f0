"""A release folder as the serving process sees it: every byte it uses is checked against `release.json`."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, Dict


class ReleaseRefused(Exception):
    """The release is damaged, or not one that this runtime can serve."""


class ReleaseFolder:
    """Files of one release. Its digest is that of the `release.json` it was opened with."""

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path)  # not `current`, which may point elsewhere a moment later
        manifest = self._bytes("release.json")
        self.digest = hashlib.sha256(manifest).hexdigest()
        files = _object(manifest, "release.json").get("files")
        self._files: Dict[str, Any] = files if isinstance(files, dict) else {}

    def sha256(self, name: str) -> str:
        """What `release.json` says a file is.

        Raises:
            ReleaseRefused: the release has no such file.
        """
        ref = self._files.get(name)
        if not isinstance(ref, dict) or not isinstance(ref.get("sha256"), str):
            raise ReleaseRefused("the release has no %s" % name)
        return str(ref["sha256"])

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            ReleaseRefused: absent, or not the bytes that the release was made of.
        """
        wanted = self.sha256(name)
        data = self._bytes(name)
        if hashlib.sha256(data).hexdigest() != wanted:
            raise ReleaseRefused("%s was altered on this board" % name)
        return data

    def read_json(self, name: str) -> Dict[str, Any]:
        """A JSON object from a file; raises as `read` does."""
        return _object(self.read(name), name)

    def _bytes(self, name: str) -> bytes:
        try:
            with open(os.path.join(self.path, name), "rb") as stream:
                return stream.read()
        except OSError as error:
            raise ReleaseRefused("%s cannot be read: %s" % (name, error.strerror)) from None


def _object(data: bytes, name: str) -> Dict[str, Any]:
    try:
        value = json.loads(data.decode("utf-8"))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ReleaseRefused("%s is not a JSON object" % name)
    return value
