"""Laying out a release from its blobs, aside, before anything looks at it."""

from __future__ import annotations

import os
from typing import Mapping

from .blobs import link_blob, missing_blobs
from .board_error import BoardError
from .call import Checkpoint
from .durable import atomic_write, fsync_directory, remove
from .files import sha256_file
from .layout import Board
from .release_files import FileRef, altered_files, parse_manifest
from .repaired import demand_proof
from .talk import complain


def stage(
    board: Board, digest: str, manifest: str, files: Mapping[str, FileRef], checkpoint: Checkpoint
) -> None:
    """Lay out `releases/<digest>` from blobs, aside and then by one rename; repair one that was altered."""
    folder = board.release(digest)
    if os.path.isdir(folder):  # it was whole when it got its name, whatever it lacks by now
        repair(board, digest, manifest, files)
        os.utime(folder)
        return
    aside = os.path.join(board.releases, ".new.%s" % digest)
    if os.path.lexists(aside):
        import shutil  # slow to import: only after a verb was killed

        shutil.rmtree(aside, ignore_errors=True)
    os.makedirs(aside)
    for path, ref in files.items():
        link_blob(board, ref.sha256, os.path.join(aside, path))
    atomic_write(os.path.join(aside, "release.json"), manifest.encode("utf-8"))
    for inside, _, _ in os.walk(aside):
        fsync_directory(inside)
    checkpoint("staged-aside")
    os.rename(aside, folder)
    fsync_directory(board.releases)


def repair(board: Board, digest: str, manifest: str, files: Mapping[str, FileRef]) -> None:
    """Put back, one rename each, the files of a staged release that somebody changed.

    The service may have loaded what they held: the state file `repaired` says so until it has started anew
    and proved itself.
    """
    folder = board.release(digest)
    manifest_path = os.path.join(folder, "release.json")
    if sha256_file(manifest_path) != digest:  # first: without it, the release is not even known as current
        atomic_write(manifest_path, manifest.encode("utf-8"))
    if board.current == digest and altered_files(board, digest):
        demand_proof(board, digest)
    for path, ref in files.items():
        target = os.path.join(folder, path)
        if sha256_file(target) != ref.sha256:
            remove("%s.new" % target)
            link_blob(board, ref.sha256, "%s.new" % target)
            os.rename("%s.new" % target, target)
            fsync_directory(os.path.dirname(target))


def mend(board: Board, digest: str) -> None:
    """Put back from the board's own blobs what somebody changed in a staged release.

    Nobody may be there to send it. What no blob has stays as it is, and keeps the release from being served.
    """
    try:
        with open(os.path.join(board.release(digest), "release.json"), encoding="utf-8") as stream:
            manifest = stream.read()
        files = parse_manifest(manifest, digest)
        wanted = {path: files[path] for path in altered_files(board, digest)}
        here = {path: ref for path, ref in wanted.items() if not missing_blobs(board, [ref.sha256])}
        if here:
            repair(board, digest, manifest, here)
    except (BoardError, OSError, ValueError) as error:
        complain("cannot mend %s: %s" % (digest[:12], error))
