"""What a build spends its time on: signs drawn by one process and by all, and batches against training steps.

The network is that of the usual reader, its pictures are noise: neither takes longer for what is on them.
"""

import os
import time
from collections.abc import Iterator
from itertools import islice, pairwise
from statistics import median

import numpy as np

from benchmarks.harness import NotMeasured, Result, against, interleave
from fleetctl.errors import ToolchainMissing
from fleetctl.manifest.schema import Architecture, Training
from fleetctl.models import carvers, fit, fonts, gardiner, network

DRAWINGS, ROUNDS = 600, 3
STEPS, TURNS = 12, 3
TRAINING = Training(epochs=1)
ONE, ALL = "one process", "every processor"
LEARN, FEED = "a training step", "its batch alone"


def measure() -> Iterator[Result]:
    try:
        font = fonts.find()
    except ToolchainMissing as error:
        raise NotMeasured(error.message) from None
    wanted = [(sign, number) for sign in gardiner.USUAL_SIGNS[:20] for number in range(DRAWINGS // 20)]

    def draw(helpers: int) -> None:
        assert len(list(carvers.draw(font, 0, wanted, helpers=helpers))) == len(wanted)

    count = os.cpu_count() or 1
    samples = interleave({ONE: lambda: draw(0), ALL: lambda: draw(count)}, ROUNDS)
    yield from against(samples, ONE, {ALL: 0.7 if count > 1 else None}, label=f"{DRAWINGS} signs drawn, ")
    yield from _training(count)


def _training(count: int) -> Iterator[Result]:
    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, (STEPS * TRAINING.batch_size, *Architecture().input), np.uint8)
    targets = np.asarray(chance.integers(0, len(gardiner.USUAL_SIGNS), len(images)), np.int32)
    taught = network.build(Architecture(), len(gardiner.USUAL_SIGNS))
    busy: list[float] = []

    def learn() -> float:
        ticks: list[tuple[float, float]] = []
        fit.fit(
            taught,
            images,
            targets,
            TRAINING,
            lambda *_: ticks.append((time.perf_counter(), time.process_time())),
        )
        (begun, used), (ended, used_then) = ticks[1], ticks[-1]  # the first step is traced
        busy.append((used_then - used) / (ended - begun))
        return median(after[0] - before[0] for before, after in pairwise(ticks[1:]))

    def feed() -> float:
        order = fit.draw_order(targets, len(images), seed=0)
        batches = iter(fit._batches(images, targets, order, TRAINING, first=0))
        next(batches)
        begun = time.perf_counter()
        fed = len(list(islice(batches, STEPS - 1)))
        return (time.perf_counter() - begun) / fed

    samples = interleave({LEARN: learn, FEED: feed}, TURNS)
    yield from against(samples, LEARN, {FEED: 0.5}, label=f"batches of {TRAINING.batch_size}, ")
    for name in (LEARN, FEED):
        rate = TRAINING.batch_size / median(samples[name])
        yield Result(f"samples a second by {name}", round(rate), "samples/s")
    yield Result(f"processors at work while it trains, of {count}", round(median(busy), 2), "processors")
