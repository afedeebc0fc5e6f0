"""What a build spends its time on: its stages, signs drawn by all processors, batches against training steps.

The stages are those of a whole build of a small reader, and of the same build again. Steps are of the usual
reader's network, its pictures are noise: neither takes longer for what is on them. A training step on one
processor is taken in a process that may use no other.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.harness import NotMeasured, Result, against, interleave, part
from fleetctl.build.builder import build
from fleetctl.cli.bars import _without_variant
from fleetctl.errors import ToolchainMissing
from fleetctl.manifest.loader import load
from fleetctl.manifest.schema import Architecture, Training
from fleetctl.models import carvers, fit, fonts, gardiner, network
from fleetctl.project import Project

DRAWINGS, ROUNDS = 2400, 3  # as a reader of 120 signs draws them, twenty of each
STEPS, TURNS = 12, 3
TRAINING = Training(epochs=1)
ONE, ALL = "one process", "every processor"
LEARN, FEED = "a training step", "its batch alone"
ALONE, TOGETHER = "a training step on one processor", "a training step on every processor"
BATCH_IS_NO_BOTTLENECK, DRAWN_BY_MORE, LEARNT_BY_MORE = 0.5, 0.7, 0.8
SIGNS, SAMPLES, EPOCHS = 8, 24, 6
AGAIN = 1.0  # seconds to find that nothing is left to do
MANIFEST = f"""\
apiVersion: fleetctl/v1
kind: Fleet
metadata: {{name: unas}}
models:
  reader:
    task: classification
    dataset:
      kind: rendered
      samples_per_sign: {SAMPLES}
      signs: [{", ".join(gardiner.USUAL_SIGNS[:SIGNS])}]
    training: {{epochs: {EPOCHS}}}
    variants: [float32, int8]
boards:
  luxor-01: {{board: raspberrypi4, model: reader, variant: int8, host: 192.0.2.1}}
rollout: {{waves: [{{percent: 100}}]}}
"""


def measure() -> Iterator[Result]:
    count = os.cpu_count() or 1
    yield from part("stages", _stages)
    yield from part("drawing", partial(_drawing, count))
    yield from part("batches", partial(_training, count))
    yield from part(TOGETHER, partial(_processors, count))


class Clock:
    """Seconds of each stage until the next began; what is done for each variant counts together."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stage, self._since = "", time.perf_counter()

    def __call__(self, stage: str, done: int = 0, total: int = 0) -> None:  # noqa: ARG002 - a `Progress`
        now = time.perf_counter()
        if self._stage:
            kind = _without_variant(self._stage)
            self.seconds[kind] = self.seconds.get(kind, 0.0) + now - self._since
        self._stage, self._since = stage, now


def _stages() -> Iterator[Result]:
    """Minutes of a build's stages, and of the build that finds nothing left to do."""
    with tempfile.TemporaryDirectory(prefix="fleetctl-bench-") as folder:
        manifest = Path(folder) / "inventory" / "fleet.yaml"
        manifest.parent.mkdir()
        manifest.write_text(MANIFEST)
        label = f"{SIGNS} signs, {EPOCHS} epochs, "
        clock, begun = Clock(), time.perf_counter()
        assert build(load(manifest), Project(manifest), progress=clock).built
        clock("")
        whole = time.perf_counter() - begun
        for stage, seconds in clock.seconds.items():
            yield Result(f"{label}{stage.partition(': ')[2] or stage}", round(seconds / 60, 2), "min")
        yield Result(f"{label}the whole build", round(whole / 60, 2), "min")
        begun = time.perf_counter()
        assert not build(load(manifest), Project(manifest)).built
        again = time.perf_counter() - begun
        yield Result(f"{label}the same build again", round(again, 2), "s", goal=AGAIN)


def _drawing(count: int) -> Iterator[Result]:
    try:
        font = fonts.find()
    except ToolchainMissing as error:
        raise NotMeasured(error.message) from None
    wanted = [(sign, number) for sign in gardiner.USUAL_SIGNS[:20] for number in range(DRAWINGS // 20)]

    def draw(helpers: int) -> None:
        assert len(list(carvers.draw([font], 0, wanted, helpers=helpers))) == len(wanted)

    samples = interleave({ONE: lambda: draw(0), ALL: lambda: draw(count)}, ROUNDS)
    goals = {ALL: DRAWN_BY_MORE if count > 1 else None}
    yield from against(samples, ONE, goals, label=f"{DRAWINGS} signs drawn, ")


def _learning(taught: Any, images: Any, targets: Any) -> tuple[float, float]:
    """Seconds of a training step, and how many processors were at work meanwhile."""
    ticks: list[tuple[float, float]] = []
    fit.fit(
        taught,
        fit.Lessons(images, targets),
        TRAINING,
        lambda *_: ticks.append((time.perf_counter(), time.process_time())),
    )
    (begun, used), (ended, used_then) = ticks[1], ticks[-1]  # the first step is traced
    return median(after[0] - before[0] for before, after in pairwise(ticks[1:])), (used_then - used) / (
        ended - begun
    )


def _lesson() -> tuple[Any, Any, Any]:
    """A network that knows nothing, with pictures of nothing."""
    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, (STEPS * TRAINING.batch_size, *Architecture().input), np.uint8)
    targets = np.asarray(chance.integers(0, len(gardiner.USUAL_SIGNS), len(images)), np.int32)
    return network.build(Architecture(), len(gardiner.USUAL_SIGNS)), images, targets


def _training(count: int) -> Iterator[Result]:
    taught, images, targets = _lesson()
    busy: list[float] = []

    def learn() -> float:
        seconds, at_work = _learning(taught, images, targets)
        busy.append(at_work)
        return seconds

    def feed() -> float:
        order = fit.draw_order(targets, len(images), seed=0)
        batches = iter(fit._batches(fit.Lessons(images, targets), order, TRAINING, first=0))
        next(batches)
        begun = time.perf_counter()
        fed = len(list(islice(batches, STEPS - 1)))
        return (time.perf_counter() - begun) / fed

    samples = interleave({LEARN: learn, FEED: feed}, TURNS)
    label = f"batches of {TRAINING.batch_size}, "
    yield from against(samples, LEARN, {FEED: BATCH_IS_NO_BOTTLENECK}, label=label)
    for name in (LEARN, FEED):
        rate = TRAINING.batch_size / median(samples[name])
        yield Result(f"samples a second by {name}", round(rate), "samples/s")
    yield Result(f"processors at work while it trains, of {count}", round(median(busy), 2), "processors")


def _processors(count: int) -> Iterator[Result]:
    if sys.platform != "linux" or count < 2:
        raise NotMeasured("it takes two processors, and a Linux that keeps a process on one of them")
    ways = {ALONE: _step_of(1), TOGETHER: _step_of(count)}
    yield from against(interleave(ways, TURNS), ALONE, {TOGETHER: LEARNT_BY_MORE})


def _step_of(processors: int) -> Callable[[], float]:
    """Seconds of a step in a process that may use so many processors, which TensorFlow asks once."""

    def way() -> float:
        argv = [sys.executable, "-m", "benchmarks.build", str(processors)]
        return float(json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout))

    return way


if __name__ == "__main__":
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[1])])
    print(json.dumps(_learning(*_lesson())[0]))
