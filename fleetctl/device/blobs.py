"""Blobs: bytes that are kept under their own digest, and shared between releases."""

from __future__ import annotations

import errno
import os
from typing import Iterable, List

from .durable import atomic_write
from .files import sha256_file
from .layout import Board


def missing_blobs(board: Board, digests: Iterable[str]) -> List[str]:
    return [digest for digest in sorted(set(digests)) if sha256_file(board.blob(digest)) != digest]


def link_blob(board: Board, digest: str, target: str) -> None:
    """A hard link to the blob; a copy where the file system has none."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        os.link(board.blob(digest), target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EMLINK, errno.EXDEV, errno.ENOTSUP, errno.ENOSYS):
            raise
        with open(board.blob(digest), "rb") as stream:
            atomic_write(target, stream.read(), 0o444)
