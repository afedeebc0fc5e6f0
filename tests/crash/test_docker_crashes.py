"""Real boards, killed at named steps and at random instants: one whole working release serves, always.

The usual suite tries a seeded sample; FLEETCTL_TEST_FULL=1 (`make test-full`) tries everything and prints a
table of it. docs/crashes.md shows the last one, and says how each fault is made.
"""

import itertools
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import board_faults as faults
import pytest
from board_crashes import CONFIRM_TIMEOUT, Case, CrashLab, Fault, crash_lab
from controller_crashes import kill_controller, usual_seconds
from crash_table import AT_ONCE, Table, on_free_boards
from long_matrices import FULL, takes
from test_activate_crash import BEFORE_THE_TRIAL, CONFIRMING, PROVED, REVERTING, UNDER_THE_WATCHER

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("docker boards")]

TABLE = Path(__file__).parents[2] / ".fleetctl" / "faults.md"
SEED = 20260
BOARDS = 8 if FULL else 2
INSTANTS = 500 if FULL else 3
COMMAND_LINES = 10  # rollouts of the whole command line that are killed, on every board at once
SLACK = 10.0  # seconds beyond its time-out until a board on a busy machine serves again
EACH = 24  # of every fault that kills nobody
STEPS = [*BEFORE_THE_TRIAL, *UNDER_THE_WATCHER, *PROVED, *CONFIRMING, *REVERTING]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashLab]:
    with crash_lab(tmp_path_factory.mktemp("crashes"), BOARDS) as lab:
        yield lab


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    table = Table()
    yield table
    print(f"\n{table.markdown()}")
    if FULL:  # for `make test-full`: what a worker prints, nobody sees
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text(table.markdown() + "\n")


def test_killed_at_every_named_step(lab: CrashLab, table: Table) -> None:
    """Controller, activating process and board are killed while the board stands at a step of its own."""
    cases = [(step, fault) for step in STEPS for fault in Fault]
    if not FULL:
        cases = random.Random(SEED).sample(cases, 4)
    table.run(
        lab.names,
        [
            lambda name, step=step, fault=fault: lab.crash_at_step(name, fault, step, bad=step in REVERTING)
            for step, fault in cases
        ],
    )


def test_killed_at_random_instants(lab: CrashLab, table: Table) -> None:
    """The same three, at instants spread evenly over the time that a release takes."""
    usual = usual_seconds_of_all(lab)

    def kill(name: str, fault: Fault, chance: random.Random) -> Case:
        while True:  # where nothing was at work at some instant, another one is drawn
            if case := lab.crash_at(name, fault, chance.uniform(0, usual)):
                return case

    seeds = random.Random(SEED).sample(range(1 << 30), INSTANTS)
    table.run(
        lab.names,
        [
            lambda name, fault=fault, seed=seed: kill(name, fault, random.Random(seed))
            for seed, fault in zip(seeds, itertools.cycle(Fault), strict=False)
        ],
    )


def test_silence_means_revert(lab: CrashLab) -> None:
    """With the controller killed after activation, a board is back within its confirm time-out by itself."""
    name = lab.names[0]
    before, said = lab.current(name), []

    def go_silent() -> None:
        line.die()
        said.append(time.monotonic())
        lab.let_go_on(name)

    line = lab.line(name, step="proved", on_step=go_silent)
    lab.release(lab.order(name), line)
    assert lab.current(name) != before
    seen = lab.look(name)
    seconds = time.monotonic() - said[0]

    assert ([], before) == (seen["wrong"], seen["current"])
    assert CONFIRM_TIMEOUT - 1 <= seconds <= CONFIRM_TIMEOUT + SLACK, seconds


def usual_seconds_of_all(lab: CrashLab) -> float:
    """How long a release takes while as many others are under way as there will be."""
    return statistics.median(on_free_boards(lab.names, [lab.usual_seconds] * max(AT_ONCE, len(lab.names))))


full = takes("minutes")


@full
def test_the_command_line_killed(lab: CrashLab, table: Table) -> None:
    """`fleetctl rollout` dies, alone or with Ansible: boards settle by themselves, the next one goes on."""
    chance = random.Random(SEED)
    usual = usual_seconds(lab, 0.5)
    for number in range(COMMAND_LINES):
        after, threshold = chance.uniform(0, usual), 0.6 + number / 1000
        table.add(kill_controller(lab, threshold, after, alone=number % 2 == 1))


@full
def test_networks_that_fail(lab: CrashLab, table: Table) -> None:
    """Cut in the middle, lossy, and slow."""
    faults.demand_network_tools()
    chance = random.Random(SEED)
    usual = usual_seconds_of_all(lab)
    cuts = [chance.random() for _ in range(EACH)]
    shares = [chance.uniform(0.1, 0.3) for _ in range(EACH)]
    speeds = [chance.randint(64, 512) for _ in range(EACH)]
    table.run(
        lab.names,
        [
            *(lambda name, at=at: faults.cut_network(lab, name, at * usual) for at in cuts),
            *(lambda name, share=share: faults.lossy_network(lab, name, share) for share in shares),
            *(lambda name, speed=speed: faults.slow_network(lab, name, speed) for speed in speeds),
        ],
    )


@full
def test_full_disks(lab: CrashLab, table: Table) -> None:
    """A release comes when little is left, and the rest is taken while it comes."""
    chance = random.Random(SEED)

    def fill_again_and_again(name: str, seed: int) -> list[Case]:
        chance = random.Random(seed)
        usual = lab.usual_seconds(name)
        with faults.small_disk(lab, name) as root:
            return [
                *(
                    faults.full_from_the_start(lab, name, root, chance.randrange(0, 2 << 20))
                    for _ in range(EACH // 4)
                ),
                *(
                    faults.full_at_an_instant(lab, name, root, chance.uniform(0, usual))
                    for _ in range(EACH // 4)
                ),
            ]

    for name in lab.names[:4]:
        table.add(fill_again_and_again(name, chance.randrange(1 << 30)))


@full
def test_flipped_bits(lab: CrashLab, table: Table) -> None:
    """One bit of what is sent, or of what lies on the board, is not what it was."""
    seeds = random.Random(SEED).sample(range(1 << 30), EACH)
    table.run(
        lab.names,
        [
            lambda name, seed=seed, flip=flip: flip(lab, name, random.Random(seed))
            for flip in (faults.flip_on_the_way, faults.flip_at_rest)
            for seed in seeds
        ],
    )


@full
def test_clocks_set_back(lab: CrashLab, table: Table) -> None:
    """The date goes back by a month at every step of a release."""
    steps = [step for step in STEPS if step not in REVERTING]
    table.run(lab.names, [lambda name, step=step: faults.clock_set_back(lab, name, step) for step in steps])


@full
def test_two_controllers_at_once(lab: CrashLab, table: Table) -> None:
    """Two releases come to one board at about the same time."""
    chance = random.Random(SEED)
    usual = usual_seconds_of_all(lab)
    parts = [chance.random() for _ in range(EACH)]
    table.run(
        lab.names,
        [lambda name, part=part: faults.two_at_once(lab, name, part * usual) for part in parts],
    )
