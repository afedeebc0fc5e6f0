"""What is read from files that may be absent, half-written or in somebody else's hands."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, Dict, List, Mapping, Optional

Json = Mapping[str, Any]


def sha256_file(path: str) -> Optional[str]:
    """Hex sha256 of a regular file; None where there is none, or a broken disk does not give it back."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            for chunk in iter(lambda: stream.read(1 << 20), b""):
                digest.update(chunk)
    except PermissionError:  # it may well be there
        raise
    except OSError:
        return None
    return digest.hexdigest()


def read_json(path: str) -> Dict[str, Any]:
    """A JSON object from a file; empty where the file is absent or holds something else."""
    try:
        with open(path, "rb") as stream:
            value = json.loads(stream.read().decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def to_json(value: Json) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("utf-8") + b"\n"


def names(folder: str) -> List[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def words_of(path: str) -> List[str]:
    """The words in a small file of the kernel; none where it is absent or its sensor fails."""
    try:
        with open(path) as stream:
            return stream.read().split()
    except (OSError, ValueError):
        return []


def tail(path: str, lines: int, start: int = 0) -> List[str]:
    """The last lines of a file from offset `start` on, of at most its last 256 KiB."""
    try:
        with open(path, "rb") as stream:
            stream.seek(max(start, os.fstat(stream.fileno()).st_size - (256 << 10)))
            text = stream.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-lines:] if lines > 0 else []


def tail_lines(path: str) -> List[bytes]:
    try:
        with open(path, "rb") as stream:
            return stream.read().splitlines()
    except FileNotFoundError:
        return []
