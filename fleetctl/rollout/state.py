"""Where a rollout stands, what can happen to it, and what it wants done."""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field
from rpds import HashTrieMap

from fleetctl import events
from fleetctl.manifest.schema import RolloutPolicy
from fleetctl.plan import Action, Plan, WaveSteps
from fleetctl.smoke import BoardVerdict, Verdict


class Phase(StrEnum):
    RELEASING = "releasing"
    SOAKING = "soaking"
    ASKING = "asking"
    REVERTING = "reverting"
    FINISHED = "finished"


class Outcome(StrEnum):
    """How a rollout ended; the exit code follows from it and from the verdicts."""

    DONE = "done"
    PAUSED = "paused"
    FAILED = "failed"
    ABORTED = "aborted"


class Rollout(Struct, frozen=True):
    """Where a rollout stands.

    `at_first` holds every board of the plan, in its order, and `settled` those that have another verdict
    since; `waiting` the boards that were asked and have not answered, with the release each is to run. The
    latter two are persistent maps: each of many thousand boards costs a few of their nodes, not a copy.

    `is_shard`: the plan is a share of one wave, and whoever has all of its shares is the gate. `doubt`: why
    no gate may open, whatever the verdicts say. `soak_left`: seconds for which boards that an earlier rollout
    released are still to be watched; `fallen`: those of them that did not hold.
    """

    plan: Plan
    policy: RolloutPolicy
    index: int = 0  # of the wave at hand in plan.waves
    phase: Phase = Phase.RELEASING
    waiting: "HashTrieMap[str, str]" = field(default_factory=HashTrieMap)
    at_first: Mapping[str, BoardVerdict] = field(default_factory=dict)
    settled: "HashTrieMap[str, BoardVerdict]" = field(default_factory=HashTrieMap)
    outcome: Outcome | None = None
    reason: str = ""
    is_shard: bool = False
    doubt: str = ""
    soak_left: Mapping[str, float] = field(default_factory=dict)
    fallen: tuple[str, ...] = ()

    @property
    def wave(self) -> WaveSteps:
        return self.plan.waves[self.index]

    @property
    def verdicts(self) -> dict[str, BoardVerdict]:
        """Of every board, in the plan's order."""
        return {board: self.settled.get(board, first) for board, first in self.at_first.items()}

    def verdict(self, board: str) -> BoardVerdict:
        return self.settled.get(board) or self.at_first[board]

    def counts(self) -> Counter[Verdict]:
        """How many boards have each verdict."""
        return Counter(said.verdict for said in self.verdicts.values())


def is_away(wave: WaveSteps) -> bool:
    """Whether it is a canary of which nobody has proved what git says, and nobody can be asked to."""
    actions = {step.action for step in wave.steps}
    return wave.is_canary and not wave.touched and Action.DEFER in actions and Action.NOTHING not in actions


# What can happen to a rollout.


class Settled(Struct, frozen=True):
    """A board that was asked to release or to revert reached a verdict."""

    verdict: BoardVerdict


class Soaked(Struct, frozen=True):
    """The soak time is over; `fallen` says which watched boards no longer hold, and why; `silent` which of
    them could not be asked whether they do, and why."""

    fallen: Mapping[str, str]
    silent: Mapping[str, str]


class Held(Struct, frozen=True):
    """Somebody paused: the next wave has to wait."""

    by: str


class Allowed(Struct, frozen=True):
    """Nobody holds the rollout. `by` resumed it; empty where nobody had paused it."""

    by: str = ""


class Stopped(Struct, frozen=True):
    """Somebody aborted."""

    by: str


Happening = Settled | Soaked | Held | Allowed | Stopped


# What a rollout wants done.


class ReleaseBoards(Struct, frozen=True):
    wave: WaveSteps
    boards: tuple[str, ...]


class SoakBoards(Struct, frozen=True):
    """`wanted` holds the release that each board is to serve when the time is over."""

    wave: WaveSteps
    wanted: Mapping[str, str]
    seconds: float


class AskLeave(Struct, frozen=True):
    """Whether somebody paused or aborted; `more`: a wave is still to open that could be held."""

    more: bool


class RevertBoards(Struct, frozen=True):
    """`to` holds the release each board ran before this rollout; None where it ran none of ours."""

    to: Mapping[str, str | None]
    reason: str


class Announce(Struct, frozen=True):
    event: events.Event


Doing = ReleaseBoards | SoakBoards | AskLeave | RevertBoards
Command = Doing | Announce
