"""Blobs: bytes that are kept under their own digest, and shared between releases."""

from __future__ import annotations

import errno
import os
from typing import Collection, Iterable, List

from .begun import WORTH_KEEPING
from .durable import atomic_write
from .files import names, sha256_file
from .layout import Board


def missing_blobs(board: Board, digests: Iterable[str]) -> List[str]:
    return [digest for digest in sorted(set(digests)) if sha256_file(board.blob(digest)) != digest]


def spare_blobs(board: Board, named: Collection[str]) -> List[str]:
    """Large blobs that lie here besides those that are `named`: of releases before. Nobody hashed them."""
    return [name for name in names(board.blobs) if name not in named and _is_large(board.blob(name))]


def _is_large(path: str) -> bool:
    try:
        return os.path.getsize(path) >= WORTH_KEEPING  # what is smaller is as soon sent as asked about
    except FileNotFoundError:  # a look holds no lock
        return False


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
