"""Which files a release consists of, and which of them are not what they should be."""

from __future__ import annotations

import hashlib
import json
import os
import re
from typing import Any, Dict, List, NamedTuple

from .board_error import BoardError
from .files import sha256_file
from .layout import DIGEST, Board


class FileRef(NamedTuple):
    sha256: str
    size: int


def parse_manifest(text: str, digest: str) -> Dict[str, FileRef]:
    """The files of a release from the text of its `release.json`.

    Raises:
        BoardError: the text is not what its digest says, or names a file outside the release.
    """
    if sha256_text(text) != digest:
        raise BoardError("bad-manifest", "the release's manifest does not match its digest")
    try:
        document = json.loads(text)
        if document["schema"] != "fleetctl.release/v1":
            raise ValueError("unknown schema")
        files = {path: FileRef(ref["sha256"], ref["size"]) for path, ref in document["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BoardError(
            "bad-manifest", "the release's manifest is not a fleetctl.release/v1 document"
        ) from None
    for path, ref in files.items():
        if not is_safe_path(path) or not isinstance(ref.sha256, str) or not DIGEST.match(ref.sha256):
            raise BoardError("bad-manifest", "the release's manifest names an unsafe file: %.80r" % path)
        if isinstance(ref.size, bool) or not isinstance(ref.size, int) or ref.size < 0:
            raise BoardError("bad-manifest", "the release's manifest gives %.80r no size" % path)
    return files


def manifest_by_difference(board: Board, difference: Any, digest: str) -> str:
    """The text of a manifest that is told by what it changes of a release that is here.

    Args:
        difference: `{"base": digest, "files": {path: {"sha256", "size"}}, "without": [path]}`.

    Raises:
        BoardError: `unknown-base`: that release is not here, was altered, or does not lead to `digest`.
    """
    try:
        files = {path: ref._asdict() for path, ref in release_files(board, difference["base"]).items()}
        files.update(difference["files"])
        for path in difference["without"]:
            files.pop(path, None)
        document = {"schema": "fleetctl.release/v1", "files": files}
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
        if sha256_text(text) == digest:
            return text
    except (KeyError, TypeError, ValueError, RecursionError):
        pass
    raise BoardError("unknown-base", "the release is not told by what this board has")


def sha256_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def is_safe_path(path: str) -> bool:
    parts = path.split("/")
    plain = re.match(r"[A-Za-z0-9._/-]+\Z", path) is not None
    return plain and path != "release.json" and not any(part in ("", ".", "..") for part in parts)


def release_files(board: Board, digest: str) -> Dict[str, FileRef]:
    """The files a staged release should have; empty where its `release.json` was altered."""
    try:
        with open(os.path.join(board.release(digest), "release.json"), encoding="utf-8") as stream:
            return parse_manifest(stream.read(), digest)
    except (BoardError, OSError, ValueError):
        return {}


def altered_files(board: Board, digest: str) -> List[str]:
    """Files of a staged release whose bytes are not what its manifest says."""
    folder = board.release(digest)
    files = release_files(board, digest)
    if not files:
        return ["release.json"]
    return [path for path, ref in files.items() if sha256_file(os.path.join(folder, path)) != ref.sha256]
