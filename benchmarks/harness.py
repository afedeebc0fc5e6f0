"""What every benchmark is made of: results, ways tried in turn, and benchmarks run one after the other.

The machine is shared, so seconds say little and ratios a lot, but only of what ran side by side: `interleave`
tries every way once before it tries any again, so that a slow moment falls on all alike.
"""

import statistics
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

Way = Callable[[], float | None]  # does the work once; its seconds, or None to have the whole call timed
Samples = dict[str, list[float]]
BROKE = "it broke"  # how `missing` begins where something failed that should not


class NotMeasured(Exception):
    """A benchmark that cannot run here; the message says what is missing."""


class Result(Struct, frozen=True):
    """One number that a benchmark states.

    `value` (in `unit`) is a median unless the name says otherwise. `peer` names what it is held against in
    the same run, and `ratio` is value / what the peer took. `goal` is the most that `ratio` may be, or
    `value` where there is no ratio. What could not be measured has no value, and `missing` says why.
    """

    name: str
    value: float | None
    unit: str
    peer: str | None = None
    ratio: float | None = None
    goal: float | None = None
    missing: str = ""

    @property
    def verdict(self) -> str:
        """`reached`, `missed`, `not measured`, or nothing where no goal was set."""
        reached = self.ratio if self.ratio is not None else self.value
        if self.value is None or reached is None:
            return "not measured"
        if self.goal is None:
            return ""
        return "reached" if reached <= self.goal else "missed"

    def to_json(self) -> dict[str, Any]:
        """`missing` is told only of what is."""
        return {key: value for key, value in asdict(self).items() if key != "missing" or value}


def interleave(ways: Mapping[str, Way], rounds: int) -> Samples:
    """Seconds of each way in each round; in a round, every way has its turn, in the order given."""
    samples: Samples = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            samples[name].append(_seconds(way))
    return samples


def after(prepare: Callable[[], object], work: Callable[[], object]) -> Way:
    """A way whose preparation is not timed."""

    def way() -> float:
        prepare()
        begun = time.perf_counter()
        work()
        return time.perf_counter() - begun

    return way


def _seconds(way: Way) -> float:
    begun = time.perf_counter()
    said = way()
    return time.perf_counter() - begun if said is None else said


def against(
    samples: Mapping[str, Sequence[float]], peer: str, goals: Mapping[str, float | None], *, label: str = ""
) -> Iterator[Result]:
    """The median of each way in `goals` against the peer's, in milliseconds; the peer itself comes first."""
    bare = statistics.median(samples[peer])
    yield Result(label + peer, round(1000 * bare, 1), "ms")
    for name, goal in goals.items():
        median = statistics.median(samples[name])
        yield Result(
            label + name, round(1000 * median, 1), "ms", peer=peer, ratio=round(median / bare, 2), goal=goal
        )


def versus(
    samples: Mapping[str, Sequence[float]], name: str, peer: str, goal: float | None, *, label: str = ""
) -> Result:
    """A way that has a row already once more, against another than the peer of that row."""
    median, other = statistics.median(samples[name]), statistics.median(samples[peer])
    return Result(
        f"{label}{name}, against {peer}", round(1000 * median, 1), "ms", peer, round(median / other, 2), goal
    )


def a_board(
    samples: Mapping[str, Sequence[float]], sizes: Mapping[str, int], *, goal: float
) -> Iterator[Result]:
    """What each way takes for one of its boards, in milliseconds; the first way is the others' peer."""
    taken = {name: 1000 * statistics.median(samples[name]) / count for name, count in sizes.items()}
    peer, *others = taken
    yield Result(f"{peer}, a board", round(taken[peer], 1), "ms")
    for name in others:
        ratio = round(taken[name] / taken[peer], 2)
        yield Result(f"{name}, a board", round(taken[name], 1), "ms", f"{peer}, a board", ratio, goal)


def demand_memory(what: str, megabytes: int) -> None:
    """Raise `NotMeasured` where so much is not free: what has to be swapped says nothing."""
    record = Path("/proc/meminfo")
    if not record.exists():
        return  # not Linux: there is none to ask
    lines = record.read_text().splitlines()
    free = next(int(line.split()[1]) >> 10 for line in lines if line.startswith("MemAvailable:"))
    if free < megabytes:
        raise NotMeasured(f"{what} take {megabytes:,} MB of memory, and {free:,} MB are free")


def run(name: str, measure: Callable[[], Iterable[Result]]) -> Iterator[Result]:
    """Every result of a benchmark as it comes; one that cannot run, or breaks, ends in one that says so."""
    for result in part("", measure):
        yield replace(result, name=f"{name}: {result.name}" if result.name else name)


def part(label: str, measure: Callable[[], Iterable[Result]]) -> Iterator[Result]:
    """Results of what the rest can be measured without: where it fails, a row says why."""
    try:
        yield from measure()
    except NotMeasured as reason:
        yield Result(label, None, "", missing=str(reason))
    except Exception as error:  # noqa: BLE001 - the others are still worth measuring; the table shows it
        traceback.print_exc()
        yield Result(label, None, "", missing=f"{BROKE}: {type(error).__name__}: {error}")
