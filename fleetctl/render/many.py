"""The releases of many boards, made on every processor there is: the same, in the same order, as one by one.

Workers are forked, so that they have templates and boards already, and hand back digests only. Where forking
is not safe, or not worth it, and for boards that fail, everything is done here.
"""

import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fleetctl.artifact import Artifact, BlobRef
from fleetctl.errors import ManifestError
from fleetctl.manifest.schema import Board, Smoke
from fleetctl.release import Release
from fleetctl.render.renderer import SERVE_CONFIG, Renderer, reference

WORTH_FORKING = 2000  # boards: under a second's work
_CHUNK = 250


class Wanted(NamedTuple):
    """A board, and what its release is made of."""

    board: Board
    artifact: Artifact
    smoke: Smoke


class Made(NamedTuple):
    """What is made for one board alone: its files by digest, and the text of its `config/serve.json`."""

    files: dict[str, BlobRef]
    config: bytes


_work: tuple[Renderer, Sequence[Wanted]]  # what a forked worker finds in its memory


def releases(
    renderer: Renderer, wanted: Sequence[Wanted], *, processes: int = 0
) -> Iterator[tuple[Release, bytes]]:
    """The release of each board and its `config/serve.json`; `processes` 0 means as many as are of use.

    Raises:
        ManifestError: a template fails; for the first of the boards it fails for.
    """
    count = processes or _useful(len(wanted))
    made = _by_workers(renderer, wanted, count) if count > 1 else _made(renderer, wanted)
    for each, one in zip(wanted, made, strict=True):
        yield Release({**renderer.common(each.artifact), **one.files}), one.config


def _useful(boards: int) -> int:
    """A fork copies locks that other threads hold, and macOS's own libraries do not bear it."""
    safe = sys.platform == "linux" and threading.active_count() == 1
    return len(os.sched_getaffinity(0)) if safe and boards >= WORTH_FORKING else 1


def _made(renderer: Renderer, wanted: Sequence[Wanted]) -> Iterator[Made]:
    for board, artifact, smoke in wanted:
        rendered = renderer.render(board, artifact, smoke)
        yield Made({path: reference(data) for path, data in rendered.items()}, rendered[SERVE_CONFIG])


def _by_workers(renderer: Renderer, wanted: Sequence[Wanted], count: int) -> Iterator[Made]:
    import multiprocessing  # for large fleets only: start-up counts
    from concurrent.futures import ProcessPoolExecutor

    global _work
    _work = renderer, wanted
    gc.freeze()  # else a worker's collector would touch, and so copy, every page
    starts = range(0, len(wanted), _CHUNK)
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("fork"), initializer=_leave_to_parent)
    try:
        results = pool.map(_chunk, starts)
        for start in starts:
            yield from _or_here(results, renderer, wanted[start : start + _CHUNK])
    finally:
        pool.shutdown(cancel_futures=True)
        gc.unfreeze()
        del _work


def _or_here(
    results: Iterator[list[Made] | None], renderer: Renderer, wanted: Sequence[Wanted]
) -> Iterator[Made]:
    from concurrent.futures import BrokenExecutor

    try:
        made = next(results)
    except (BrokenExecutor, StopIteration):  # a worker was killed: for want of memory, perhaps
        made = None
    yield from _made(renderer, wanted) if made is None else made


def _leave_to_parent() -> None:
    """In a worker: whoever interrupts the command is answered by the parent, which ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _chunk(start: int) -> list[Made] | None:
    """In a worker: some of the boards; None where one of them fails, and has to be told of by the parent."""
    renderer, wanted = _work
    try:
        return list(_made(renderer, wanted[start : start + _CHUNK]))
    except ManifestError:
        return None
