"""Many drawings of signs, by every processor there is: the same pixels in the same order as one by one.

A drawing depends on fonts, seed, sign and number alone, so it does not matter who makes it. The helpers are
processes of their own that write pixels to a pipe; what one does not deliver is drawn here, so that a mistake
is told as if there were none.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fleetctl.children import environment
from fleetctl.models.progress import Progress, silent
from fleetctl.models.rendered import HEIGHT, WIDTH, Carver
from fleetctl.models.samples import Samples, drawn_name

WORTH_HELPERS = 400  # drawings: a few seconds of one processor's work
_SIZE = HEIGHT * WIDTH

Drawing = tuple[str, int]  # sign and number


def draw(
    fonts: Sequence[Path], seed: int, wanted: Sequence[Drawing], *, helpers: int | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Each drawing in turn, uint8 (75, 50); `helpers` is how many processes, by default what is of use.

    Raises:
        BuildError: no font, or not even Unicode, has such a sign.
    """
    count = _useful(len(wanted)) if helpers is None else helpers
    carver = Carver(fonts, seed=seed)
    with contextlib.ExitStack() as ended:
        pipes = [ended.enter_context(_helper(fonts, seed, wanted[first::count])) for first in range(count)]
        for number, (sign, index) in enumerate(wanted):
            pixels = pipes[number % count].read(_SIZE) if pipes else b""
            if len(pixels) == _SIZE:
                yield np.frombuffer(pixels, np.uint8).reshape(HEIGHT, WIDTH).copy()
            else:
                yield carver.sample(sign, index)


def samples(
    fonts: Sequence[Path], seed: int, signs: Iterable[str], count: int, progress: Progress = silent
) -> Samples:
    """`count` drawings of each sign, labelled; `progress` hears stage `draw`. Raises as `draw`."""
    wanted = [(sign, index) for sign in signs for index in range(count)]
    drawn = Samples([], [], [])
    for done, ((sign, index), image) in enumerate(zip(wanted, draw(fonts, seed, wanted), strict=True), 1):
        drawn.images.append(image)
        drawn.labels.append(sign)
        drawn.names.append(drawn_name(sign, index))
        progress("draw", done, len(wanted))
    return drawn


def _useful(drawings: int) -> int:
    if drawings < WORTH_HELPERS:
        return 0
    known = len(os.sched_getaffinity(0)) if sys.platform == "linux" else (os.cpu_count() or 1)
    return known if known > 1 else 0


class _Pipe:
    """What a helper writes; once it falls short, nothing."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._is_whole = True

    def read(self, size: int) -> bytes:
        assert self._process.stdout is not None
        data = self._process.stdout.read(size) if self._is_whole else b""
        self._is_whole = len(data) == size
        return data


@contextlib.contextmanager
def _helper(fonts: Sequence[Path], seed: int, wanted: Sequence[Drawing]) -> Iterator[_Pipe]:
    # Not forked: TensorFlow may be at work in this process. The code is this process's own, wherever it lies.
    path = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "fleetctl.models.carvers", str(seed), *map(str, fonts)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(PYTHONPATH=path),
    )
    try:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as stream:
            stream.write(json.dumps(wanted).encode())
        yield _Pipe(process)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _main(seed: str, *fonts: str) -> None:
    carver = Carver([Path(font) for font in fonts], seed=int(seed))
    for sign, index in json.loads(sys.stdin.buffer.read()):
        sys.stdout.buffer.write(carver.sample(sign, index).tobytes())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main(*sys.argv[1:])
