"""Room on the disk: which releases and blobs may go, and what a killed verb left behind."""

from __future__ import annotations

import os
from typing import Container, Optional, Set

from .begun import drop_begun, drop_stale
from .board_error import BoardError
from .durable import free_bytes, remove
from .files import names
from .layout import Board
from .release_files import altered_files, release_files

KEEP_RELEASES = 3
MARGIN_BYTES = 1 << 20  # kept free beyond what a release needs: receipts, logs, directory entries


def make_room(board: Board, needed: int, keep: Set[Optional[str]], wanted: Container[str]) -> None:
    """See to `needed` bytes of free disk, giving up old releases if that helps.

    Args:
        wanted: blobs of a release that is on its way: some may have come before, and no release has them yet.

    Raises:
        BoardError: `no-space`.
    """
    if free_bytes(board.root) >= needed + MARGIN_BYTES:
        return
    collect(board, keep, at_least=0, wanted=wanted)
    free = free_bytes(board.root)
    if free < needed + MARGIN_BYTES:
        raise BoardError(
            "no-space",
            "%d KiB of disk are free, %d KiB are needed" % (free >> 10, (needed + MARGIN_BYTES) >> 10),
        )


def collect(
    board: Board, keep: Set[Optional[str]], at_least: int = KEEP_RELEASES, wanted: Container[str] = ()
) -> None:
    """Delete releases beyond the newest `at_least`, never one of `keep`; and blobs that neither a release has
    nor `wanted` names.

    One that was altered on the disk is nothing to go back to, and does not count.
    """
    kept = {digest for digest in keep if digest}
    staged = board.staged()
    for digest in reversed(staged):
        if len(kept) < at_least and not altered_files(board, digest):
            kept.add(digest)
    for digest in staged:
        if digest not in kept:
            remove_folder(board.release(digest))
    referenced = {ref.sha256 for digest in board.staged() for ref in release_files(board, digest).values()}
    for name in names(board.blobs):
        if name not in referenced and name not in wanted:
            remove(board.blob(name))
    drop_begun(board)


def sweep(board: Board) -> None:
    """Remove what a killed verb left half-written; only ever called under the lock."""
    drop_stale(board)
    for folder in (board.blobs, board.state, board.root, board.snapshots):
        for name in names(folder):
            if name.startswith(".new.") or name in ("current.new", "venv.new"):
                remove(os.path.join(folder, name))
    for name in names(board.releases):
        if name.startswith((".new.", ".trash.")):
            import shutil  # slow to import: only where something was left

            shutil.rmtree(os.path.join(board.releases, name))


def remove_folder(path: str) -> None:
    """Delete a folder under a name that nobody takes for a whole one."""
    import shutil  # slow to import: only where something goes

    trash = os.path.join(os.path.dirname(path), ".trash.%s" % os.path.basename(path))
    shutil.rmtree(trash, ignore_errors=True)
    os.rename(path, trash)
    shutil.rmtree(trash)
