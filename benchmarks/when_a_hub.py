"""When a fleet is better reached over an IoT Hub: what a board costs whoever releases to it, and a model.

Measured on boards of the process lab is what Ansible takes of the processor here for one more board, its own
start left out: of the processor, so that a busy machine makes it no longer. From that, and from how long
boards take, follows how long a rollout takes by so many runners. The hub's side is what its published rates
make of the calls that fleetctl plans. What was measured is kept in `results/when_a_hub.json`, and the tables
that follow from it are written into docs/rollout.md; a test holds one against the other.
"""

import itertools
import json
import math
import resource
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from contract_worlds import LabWorld, Releases

from benchmarks.ansible_release import release
from benchmarks.harness import Result
from fleetctl.lab import control
from fleetctl.report.console import markdown_table
from fleetctl.store import BlobStore, atomic_write
from fleetctl.transports.iothub_quota import Hub, Need, estimate

FEW, MANY = 4, 24  # boards; the difference is what so many more cost
ROUNDS = 3
FLEET = 10_000  # boards, of the results
KEPT = Path(__file__).parent / "results" / "when_a_hub.json"
PAGE = Path(__file__).parents[1] / "docs" / "rollout.md"
BEGIN, END = "<!-- when_a_hub -->\n", "\n<!-- /when_a_hub -->"

# What the model takes for granted:
CORES = 2  # of a runner
FORKS = 32  # boards that a runner has at work at once
ASK_S = 0.006  # of a runner's processor for a board that is asked what it runs: docs/speed.md, "Looking"
LOOK_S = 300.0  # between two looks of a hub at which boards a deployment is for
WAVES = (0.001, 0.05, 0.25, 0.6, 1.0)
RUNNERS = (1, 4, 16)
FLEETS = (100, 1_000, 10_000, 100_000)
BOARDS_S = (5.0, 10.0, 30.0, 90.0)  # from the first byte to the confirmation: what a fleet has to know
BOARD_S = 10.0  # of the table of times
MOST = 1_000_000  # boards, an IoT Hub's limit


@dataclass(frozen=True)
class Measured:
    """Seconds of the processor: for one more board, and for a rollout before its first."""

    more_s: float
    start_s: float


def measure() -> Iterator[Result]:
    found = _measured()
    atomic_write(KEPT, json.dumps(asdict(found), indent=1) + "\n")
    atomic_write(PAGE, with_tables(PAGE.read_text("utf-8"), found))
    yield Result("processor time of the controller for one more board", found.more_s, "s")
    yield Result("processor time of the controller before the first board", found.start_s, "s")
    yield from compared(found)


def compared(measured: Measured) -> Iterator[Result]:
    """What the model says of a large fleet, and from which on a hub is quicker, where it ever is."""
    label = f"model of {FLEET:,} boards, "
    over_hub = minutes_over_hub(FLEET, BOARD_S)
    for count in RUNNERS:
        minutes = minutes_by_runners(measured, FLEET, count, BOARD_S)
        yield Result(f"{label}{_runners(count)}", round(minutes, 1), "min")
        name = f"{label}a hub of one S1 unit, against {_runners(count)}"
        yield Result(name, round(over_hub, 1), "min", _runners(count), round(over_hub / minutes, 2))
        if boards := crossing(measured, count, BOARD_S):
            yield Result(
                f"smallest fleet for which a hub is quicker than {_runners(count)}", boards, "boards"
            )


def _measured() -> Measured:
    few, many = [], []
    with tempfile.TemporaryDirectory(prefix="fleetctl-bench-") as folder:
        world = LabWorld(Path(folder))
        releases = Releases(BlobStore(Path(folder) / "store"))
        try:
            for _ in range(ROUNDS):
                few.append(_taken_by(world, releases, FEW))
                many.append(_taken_by(world, releases, MANY))
        finally:
            control.down(world.files, keep=False)
    more = (statistics.median(many) - statistics.median(few)) / (MANY - FEW)
    return Measured(round(more, 3), round(statistics.median(few) - FEW * more, 3))


def _taken_by(world: LabWorld, releases: Releases, count: int) -> float:
    """Seconds of the processor that Ansible and its children took for a release to so many fresh boards."""
    world.retire()
    orders = [releases.order(board) for board in world.boards(count)]
    before = _processor_s()
    release(world, orders)
    return _processor_s() - before


def _processor_s() -> float:
    """Processor seconds of this process and of all its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def sizes(boards: int) -> list[int]:
    """How many boards each wave holds."""
    ends = [max(1, math.ceil(share * boards)) for share in WAVES]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def asked_ahead(boards: int) -> list[int]:
    """How many boards each shard of a wave asks first, and then its join: those of all waves before."""
    return [0, *itertools.accumulate(sizes(boards)[:-1])]


def minutes_by_runners(measured: Measured, boards: int, runners: int, board_s: float) -> float:
    """A rollout over Ansible, each wave split over so many runners, waiting for processor or boards.

    One runner asks everybody once. Of several each asks its share, and those ahead; then the join asks these.
    """
    total = boards * ASK_S / CORES if runners == 1 else 0.0
    for size, ahead in zip(sizes(boards), asked_ahead(boards), strict=True):
        share = math.ceil(size / runners)
        processor = (measured.start_s + share * measured.more_s) / CORES
        total += max(processor, math.ceil(share / FORKS) * board_s)
        total += (share + 2 * ahead) * ASK_S / CORES if runners > 1 else 0.0
    return total / 60


def minutes_over_hub(boards: int, board_s: float) -> float:
    """The same by a hub of one S1 unit: in each wave a look of the hub, its rates, and all boards at once."""
    rates = sum(estimate(Need(size, size, 1), Hub()).minutes for size in sizes(boards))
    return rates + len(WAVES) * (LOOK_S + board_s) / 60


def calls_over_hub(boards: int) -> int:
    """Calls of all kinds that fleetctl plans for it."""
    return sum(estimate(Need(size, size, 1), Hub()).calls for size in sizes(boards))


def crossing(measured: Measured, runners: int, board_s: float) -> int | None:
    """The smallest fleet, to two digits, for which a hub takes less time than so many runners."""
    boards = 100
    while boards <= MOST:
        if minutes_over_hub(boards, board_s) < minutes_by_runners(measured, boards, runners, board_s):
            return boards
        boards += 10 ** (len(str(boards)) - 2)
    return None


def with_tables(page: str, measured: Measured) -> str:
    """The page of the manual with the model of what was measured in the place of the one it shows."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{tables(measured)}{END}{after}"


def tables(measured: Measured) -> str:
    """The model as it stands in the documentation."""
    columns = [
        "boards",
        *map(_runners, RUNNERS),
        "each of several asks ahead",
        "hub, one S1 unit",
        "calls to it",
    ]
    times = markdown_table(columns, [_times(measured, boards) for boards in FLEETS])
    columns = ["a board takes", *map(_runners, RUNNERS)]
    return times + "\n\n" + markdown_table(columns, [_crossings(measured, each) for each in BOARDS_S])


def _runners(count: int) -> str:
    return f"{count} runners" if count > 1 else "1 runner"


def _times(measured: Measured, boards: int) -> list[str]:
    by_runners = [minutes_by_runners(measured, boards, count, BOARD_S) for count in RUNNERS]
    *times, hub = [f"{minutes:,.1f} min" for minutes in (*by_runners, minutes_over_hub(boards, BOARD_S))]
    return [f"{boards:,}", *times, f"{sum(asked_ahead(boards)):,} boards", hub, f"{calls_over_hub(boards):,}"]


def _crossings(measured: Measured, board_s: float) -> list[str]:
    found = [crossing(measured, count, board_s) for count in RUNNERS]
    return [f"{board_s:g} s", *(f"{boards:,} boards" if boards else "never" for boards in found)]


def kept() -> Measured:
    """What was measured last."""
    return Measured(**json.loads(KEPT.read_text()))
