"""What every benchmark is made of: results, ways tried in turn, and benchmarks run one after the other.

The machine is shared, so seconds say little and ratios a lot, but only of what ran side by side: `interleave`
tries every way once before it tries any again, so that a slow moment falls on all alike.
"""

import statistics
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

Way = Callable[[], float | None]  # does the work once; its seconds, or None to have the whole call timed
Samples = dict[str, list[float]]


class NotMeasured(Exception):
    """A benchmark that cannot run here; the message says what is missing."""


@dataclass(frozen=True)
class Result:
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


def run(name: str, measure: Callable[[], Iterable[Result]]) -> list[Result]:
    """Every result of a benchmark; one that cannot run, or breaks, ends in a result that says so."""
    results: list[Result] = []
    try:
        for result in measure():
            results.append(replace(result, name=f"{name}: {result.name}"))
    except NotMeasured as reason:
        results.append(Result(name, None, "", missing=str(reason)))
    except Exception as error:  # noqa: BLE001 - the others are still worth measuring; the table shows it
        traceback.print_exc()
        results.append(Result(name, None, "", missing=f"it broke: {type(error).__name__}: {error}"))
    return results
