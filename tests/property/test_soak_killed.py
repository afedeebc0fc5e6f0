"""However often a rollout is killed, no wave opens before the one ahead of it was watched for its soak."""

from hypothesis import given, settings
from hypothesis import strategies as st
from little_fleet import Killed, LittleFleet

from fleetctl.events import Event, WaveStarted
from fleetctl.manifest.schema import Wave
from fleetctl.observation import seconds_of
from fleetctl.rollout.state import Outcome
from fleetctl.store import BlobStore

WAVES = (Wave(fraction=0.4, soak=30), Wave(fraction=0.6), Wave(fraction=0.8, soak=10), Wave(fraction=1.0))


def roll_out(world: LittleFleet, life: float) -> bool:
    """A rollout that dies at the first event, or look at people's wishes, that comes so many seconds later.

    True where it got to its end. Every wave that opens is held against what is ahead of it.
    """
    dies = world.clock.now + life

    def live() -> None:
        if world.clock.now >= dies:
            raise Killed

    def emit(event: Event) -> None:
        if isinstance(event, WaveStarted):
            assert [] == too_young(world, event.number)
        live()

    def sleep(seconds: float) -> None:
        live()
        type(world.clock).sleep(world.clock, seconds)

    world.clock.sleep = sleep  # type: ignore[method-assign]
    try:
        return world.roll_out(emit=emit).outcome is Outcome.DONE
    except Killed:
        return False


def too_young(world: LittleFleet, number: int) -> list[str]:
    """Boards ahead of a wave that serve what git says for less long than their wave is to be watched."""
    boards = list(world.fleet.boards)
    soaks = {boards[0]: 30, boards[1]: 30, boards[3]: 10 if number > 3 else 0}
    found = []
    for board, soak in soaks.items():
        record = world.transport._recall(board)
        proved = seconds_of(record.receipts[-1]["time"])
        assert proved is not None
        if record.good == world.release(board).digest and world.clock.now - proved < soak:
            found.append(board)
    return found if number > 1 else []


@settings(max_examples=60, deadline=None)
@given(
    lives=st.lists(st.tuples(st.floats(0, 50), st.floats(0, 40)), max_size=5),
    away=st.sets(st.sampled_from(["b00", "b01", "b03"])),
)
def test_no_wave_opens_before_the_one_ahead_was_watched(
    store: BlobStore, lives: list[tuple[float, float]], away: set[str]
) -> None:
    """Killed at any instant, run again after any pause, with boards that were away at first."""
    world = LittleFleet(store, count=5, waves=WAVES)
    world.roll_out()
    world.version = 2
    world.faults = {board: {"unreachable": True} for board in away}
    for life, pause in lives:
        roll_out(world, life)
        world.clock.now += pause
        world.faults = {}
    world.faults = {}

    assert roll_out(world, 1e6)
    assert world.plan().is_empty
