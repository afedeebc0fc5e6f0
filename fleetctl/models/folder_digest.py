"""What a folder of photos holds, as one sha256, without reading again what has not changed."""

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from fleetctl.errors import BuildError, WriteError
from fleetctl.models import photo_files
from fleetctl.store import atomic_write, canonical_json, sha256, sha256_file

# A file written within this time of being read may change once more without its times showing it.
_SETTLED_NS = 2_000_000_000


def folder_digest(folder: Path, *, cache: Path, now: Callable[[], int] = time.time_ns) -> str:
    """sha256 over every photo's name and contents.

    `cache` is a folder for what earlier runs learnt: a photo whose size, inode and times are as they were
    then is not read again. Losing the cache costs time only, and so does one that cannot be written, as where
    somebody looks who may not write here. `now` is the clock, in nanoseconds.

    Raises:
        BuildError: as `photo_files.find`, or a photo that may not be read.
    """
    memory = cache / f"digests-{sha256(os.fsencode(folder.absolute()))[:16]}.json"
    known = _remembered(memory)
    fresh: dict[str, list[Any]] = {}
    for photo in photo_files.find(folder):
        try:
            stamp = _stamp(photo.path)
            digest = _recorded(known.get(photo.name), stamp) or sha256_file(photo.path)
        except OSError as error:
            raise BuildError(f"{photo.path} cannot be read: {error.strerror}") from None
        fresh[photo.name] = [stamp, digest]
    deadline = now() - _SETTLED_NS
    settled = {name: record for name, record in fresh.items() if max(record[0][2:]) < deadline}
    if settled != known:
        with suppress(WriteError):
            atomic_write(memory, canonical_json(settled))
    return sha256(canonical_json({name: record[1] for name, record in fresh.items()}))


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]


def _recorded(record: Any, stamp: list[int]) -> str:
    """The digest that a record of the cache gives for a photo with this stamp; empty if it gives none."""
    if isinstance(record, list) and len(record) == 2 and record[0] == stamp and isinstance(record[1], str):
        return record[1]
    return ""


def _remembered(memory: Path) -> dict[str, Any]:
    try:
        known = json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
