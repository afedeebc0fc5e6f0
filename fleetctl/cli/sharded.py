"""`fleetctl rollout --shard` and `--join`: one wave by several machines, and one gate over all of them."""

import json
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct
from msgspec.structs import replace

from fleetctl.cli.named_file import place_of, write_named
from fleetctl.cli.options import Output, never_empty
from fleetctl.errors import FleetError, GatePaused, UsageError
from fleetctl.plan import Action, Plan, WaveSteps, wave_name, waves_of
from fleetctl.smoke import Verdict
from fleetctl.store import Lock, naming
from fleetctl.transports.base import Order

if TYPE_CHECKING:
    from fleetctl.cli.session import Session
    from fleetctl.rollout.state import Rollout
    from fleetctl.sharding import Joined, Shard, ShardResult

_RESULT = "the file is what `--join` judges the wave by"


def _counted_from_1(context: typer.Context, number: int) -> int:
    """The number of a wave; 0 where none was given, which is not the same as a 0 that somebody typed.

    Raises:
        UsageError: there can be no such wave.
    """
    source = context.get_parameter_source("wave")
    if number < 1 and source and source.name == "COMMANDLINE":
        raise UsageError(f"there is no wave {number}: waves count from 1", hint="the canary is wave 1")
    return number


WaveOption = Annotated[
    int,
    typer.Option(
        "--wave",
        callback=_counted_from_1,
        help="With --shard or --join: which wave, from 1.",
        show_default=False,
    ),
]
ShardOption = Annotated[
    str,
    typer.Option(
        "--shard",
        metavar="N/OF",
        callback=never_empty("a rollout by one machine"),
        help="Prove the N-th of OF shares of a wave; judge nothing.",
    ),
]
ResultOption = Annotated[
    Path | None, typer.Option("--result", help="With --shard: the file to write what became of it to.")
]
JoinOption = Annotated[
    Path | None, typer.Option("--join", help="Judge a wave by the results of its shards in this folder.")
]


class Part(Struct, frozen=True):
    """What of a rollout is done here: a shard of a wave (`result`: its file), or the gate over `results`."""

    wave: int
    shard: "Shard | None" = None
    result: Path = Path()
    results: Path = Path()

    def __str__(self) -> str:
        return f"wave {self.wave}, shard {self.shard}" if self.shard else f"wave {self.wave}, all shards"


def part_of(
    wave: int, shard: str, result: Path | None, results: Path | None, others: Mapping[str, object]
) -> Part | None:
    """What the options ask for; None for a whole rollout. `others` go with a whole rollout alone.

    Raises:
        UsageError: they do not go together.
    """
    if not (wave or shard or result or results):
        return None
    if bool(shard) == bool(results):
        hint = "`--wave 2 --shard 3/8 --result FILE` on each machine, then `--wave 2 --join FOLDER` on one"
        raise UsageError("give either --shard or --join", hint=hint)
    if not wave:
        raise UsageError("--wave is missing", hint="the canary is wave 1; `fleetctl plan` numbers them")
    if wrong := [name for name, value in others.items() if value]:
        raise UsageError(f"{wrong[0]} does not go with a part of a wave", hint="its boards follow from it")
    if results:
        if result:
            raise UsageError("--result goes with --shard", hint="`--output json` prints what was joined")
        if results.exists() and not results.is_dir():  # one that is not there: no shard ended
            raise UsageError(f"{results} is no folder", hint="give that of the shards' results")
        return Part(wave, results=results)
    if not result:
        raise UsageError("--result is missing", hint=_RESULT)
    from fleetctl.sharding import Shard

    return Part(wave, Shard.parse(shard), result)


def begin_shard(session: "Session", part: Part) -> "Session":
    """The session with the boards of one shard of one wave; there may be none.

    A result of an earlier run goes first: should this one be cut off, it must not be taken for its result.

    Raises:
        UsageError: the fleet has no such wave, or no result can be written where it is to be.
        GatePaused: a wave before it has not come to an end that lets another open.
    """
    from fleetctl.selector import Selection
    from fleetctl.sharding import in_shard

    assert part.shard
    boards = in_shard(session.fleet, part.wave, part.shard)
    place = place_of(part.result, hint=_RESULT, new_folder=True)
    with naming(place):
        place.unlink(missing_ok=True)
    if boards and (doubt := _doubt_before(session, part.wave)):  # whoever releases nobody need not ask
        hint = "waves open one after the other: roll out that one, or run it again; without --wave, all go on"
        raise GatePaused(f"paused: {doubt}", hint=hint)
    return replace(session, selection=Selection(boards, len(session.fleet.boards)))


def _doubt_before(session: "Session", number: int) -> str:
    """Why wave `number` may not open, by what the boards of the waves before it show; empty where it may."""
    from fleetctl.cli.session import READ_DEADLINE
    from fleetctl.desired import desired_fleet
    from fleetctl.observing import observe
    from fleetctl.sharding import boards_before, doubt_before

    boards = boards_before(session.fleet, number)
    if not boards:
        return ""
    desired = desired_fleet(session.project, session.fleet, boards)
    asked = [session.fleet.boards[name] for name in boards]
    seen = observe(session.transport, asked, deadline=READ_DEADLINE)
    return doubt_before(desired.plan(seen), seen, session.fleet.rollout.gate)


def keep_result(session: "Session", part: Part, state: "Rollout", commit: str) -> None:
    """Write what became of a shard, for whoever joins it with the others."""
    from fleetctl.report.console import talk
    from fleetctl.sharding import ShardResult

    assert part.shard
    policy, _ = waves_of(session.fleet)[part.wave - 1]
    empty = WaveSteps(part.wave, wave_name(policy), policy.soak, ())
    wave = state.plan.waves[0] if state.plan.waves else empty
    found = ShardResult(session.fleet.name, commit, part.shard, wave, state.verdicts)
    write_named(part.result, json.dumps(found.to_json()) + "\n", hint=_RESULT, new_folder=True)
    talk.done(f"{part}: {part.result} says what became of it; the gate is whoever joins the shards")


def judge_shards(session: "Session", part: Part, output: Output) -> FleetError | None:
    """Judge a wave by all of its shards; take it back where its gate fails.

    Returns:
        The error that it ends in; None where the next wave may open.

    Raises:
        UsageError, PlanStale: the results do not belong together, or not to what git says now.
    """
    from fleetctl.cli.rollout import carry_out, show_result, tell_github
    from fleetctl.desired import desired_fleet
    from fleetctl.report.console import talk
    from fleetctl.revision import working_commit
    from fleetctl.rollout.machine import at_gate
    from fleetctl.sharding import join, wave_boards

    fleet, commit = session.fleet, working_commit(session.project)
    results = _read_results(part.results)
    waves = sorted({part.wave} | {result.wave.number for result in results.values()})
    boards = [board for number in waves for board in wave_boards(fleet, number)]
    with Lock(session.project.state / "lock", f"rollout of {fleet.name}"):
        desired = desired_fleet(session.project, fleet, boards)
        releases = {name: release.digest for name, release in desired.releases.items()}
        joined = join(fleet, part.wave, results, commit=commit, desired=releases)
        if ahead := _doubt_before(session, part.wave):
            talk.warn(ahead)  # the gate may have a reason of its own to tell
        doubt = "; ".join(filter(None, (ahead, joined.doubt)))
        kept = [name for name, said in joined.verdicts.items() if said.verdict is Verdict.VERIFIED]
        orders = desired.orders(kept, commit, _with_way_back(session, joined.plan, kept))
        left = _soak_left(session, joined.plan)
        begun = at_gate(joined.plan, fleet.rollout, joined.verdicts, doubt, soak_left=left)
        state = carry_out(session, begun, orders, commit)
    show_result(state, commit, output, talked=False)
    tell_github(state, commit, str(part))
    return _ending(session, part, joined, state)


def _read_results(folder: Path) -> "dict[str, ShardResult]":
    """Every result below a folder, by its path; one that is not there has none."""
    from fleetctl.sharding import read_result

    try:
        files = {str(path): path.read_bytes() for path in sorted(folder.rglob("*.json"))}
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read: {error.strerror}") from error
    return {name: read_result(name, data) for name, data in files.items()}


def _soak_left(session: "Session", plan: Plan) -> dict[str, float]:
    """What an earlier rollout left to be watched of the boards that had nothing to do in their shards.

    Nobody is watched where no further wave could open, and nobody was released.
    """
    from fleetctl.observing import observe
    from fleetctl.soak import soak_left

    wave = plan.waves[-1]
    is_last = wave.number == len(session.fleet.rollout.waves)
    idle = [step.board for step in wave.steps if step.action is Action.NOTHING]
    if not (idle and wave.soak) or (is_last and not wave.touched):
        return {}
    asked = [session.fleet.boards[name] for name in idle]
    return soak_left(
        Plan(plan.fleet, (wave,)),
        observe(session.transport, asked, deadline=session.fleet.rollout.deadline),
    )


def _with_way_back(session: "Session", plan: Plan, boards: Collection[str]) -> Callable[[Order], Order]:
    """Adds to orders what lets boards that demand signatures go back to what they ran before their shard."""
    from fleetctl.observing import observe
    from fleetctl.signing.signing import open_signing

    signing = open_signing(session.project, session.fleet, os.environ)
    if signing is None:
        return lambda order: order
    signing.require_key()
    before = {step.board: step.current for step in plan.steps}
    asked = [session.fleet.boards[name] for name in boards]
    seen = observe(session.transport, asked, deadline=session.fleet.rollout.deadline)

    def add(order: Order) -> Order:
        name = order.board.name
        release = before[name]
        return replace(order, undo=signing.permission(seen[name], release)) if release else order

    return add


def _ending(session: "Session", part: Part, joined: "Joined", state: "Rollout") -> FleetError | None:
    """What the gate came to; boards that went back in their own shard fail that shard, not the gate."""
    from fleetctl.report import github
    from fleetctl.report.console import talk
    from fleetctl.rollout.failure import failure
    from fleetctl.rollout.state import Outcome

    is_open = state.outcome is Outcome.DONE
    is_last = part.wave == len(session.fleet.rollout.waves)
    github.set_outputs({"open": is_open, "next": "" if is_last or not is_open else part.wave + 1})
    now_back = [b for b, said in state.verdicts.items() if said.verdict is not joined.verdicts[b].verdict]
    if not is_open or now_back:
        error = failure(state)
        if joined.doubt and isinstance(error, GatePaused):
            error.hint = f"run again each shard whose result is not in {part.results}, then join again"
        return error
    if gone := state.counts()[Verdict.ROLLED_BACK]:
        talk.warn(f"the gate allows for {gone} of {len(state.at_first)} boards that went back")
    return None
