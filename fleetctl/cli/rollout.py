"""`fleetctl rollout`: bring boards to what git says, wave by wave."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetctl.cli.committed import (
    AdoptOption,
    AllowDirtyOption,
    AllowUnpushedOption,
    CommitOption,
    SignedOption,
    project_of,
)
from fleetctl.cli.options import (
    DEFAULT_MANIFEST,
    BackOption,
    FaultsOption,
    FileOption,
    OnOption,
    Output,
    OutputOption,
    TransportKind,
    TransportOption,
    YesOption,
)
from fleetctl.cli.sharded import (
    JoinOption,
    Part,
    ResultOption,
    ShardOption,
    WaveOption,
    begin_shard,
    judge_shards,
    keep_result,
    part_of,
)
from fleetctl.transports.base import Order

if TYPE_CHECKING:
    from fleetctl.cli.session import Session
    from fleetctl.plan import Plan
    from fleetctl.rollout.state import Command, Rollout


def rollout(
    file: FileOption = DEFAULT_MANIFEST,
    on: OnOption = "",
    transport: TransportOption = TransportKind.MANIFEST,
    faults: FaultsOption = None,
    saved: Annotated[
        Path | None, typer.Option("--plan", help="Do this saved plan, or refuse if it is stale.")
    ] = None,
    back: BackOption = False,
    commit: CommitOption = "",
    allow_dirty: AllowDirtyOption = False,
    allow_unpushed: AllowUnpushedOption = False,
    signed: SignedOption = False,
    adopt: AdoptOption = False,
    wave: WaveOption = 0,
    shard: ShardOption = "",
    result: ResultOption = None,
    results: JoinOption = None,
    yes: YesOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Bring boards to what git says, wave by wave, proving each.

    Shows the plan and asks. A board counts as updated only when its serving process has answered the golden
    samples; one that fails goes back by itself, and a wave that fails its gate closes the ones behind it.
    Boards that are interrupted go back by themselves too: running this again goes on from there.

    A commit from before the one that a board runs is refused, unless --back says that this is meant; boards
    that demand signatures refuse it themselves.

    With --commit it is that commit that is rolled out, read from git, whatever the files here say; refused
    while they differ from git or no remote has it. A board whose release this repository's history does not
    know is left alone, unless --adopt says to overwrite it.

    A large wave can be split over machines: each proves its --shard of --wave and writes a --result; then one
    with --join judges them all, and takes the wave back where its gate fails. A result that is missing keeps
    the gate shut.
    """
    from fleetctl.cli.agreed import read_plan
    from fleetctl.cli.session import open_session
    from fleetctl.rollout.failure import failure

    part = part_of(wave, shard, result, results, {"--on": on, "--plan": saved})
    with project_of(file, commit, dirty=allow_dirty, unpushed=allow_unpushed, signed=signed) as project:
        session = open_session(project, on, transport, faults)
        plan = read_plan(saved) if saved else None
        if part and not part.shard:
            error = judge_shards(session, part, output)
        else:
            error = failure(_roll_out(session, plan, output, part, back=back, adopt=adopt, yes=yes))
    if error:
        raise error


def _roll_out(
    session: "Session",
    saved: "Plan | None",
    output: Output,
    part: Part | None,
    *,
    back: bool,
    adopt: bool,
    yes: bool,
) -> "Rollout":
    """Plan, ask, do and tell: of all selected boards, or of one shard of a wave."""
    from fleetctl.cli.agreed import Wanted, agreed
    from fleetctl.desired import desired_fleet, sealed_by
    from fleetctl.revision import working_commit
    from fleetctl.rollout.machine import start
    from fleetctl.signing.signing import open_signing
    from fleetctl.soak import soak_left
    from fleetctl.store import Lock

    commit = working_commit(session.project)  # that was read: there may be others before somebody says yes
    if part:
        session = begin_shard(session, part)
    if signing := open_signing(session.project, session.fleet, os.environ, back=back):
        signing.require_key()
    with Lock(session.project.state / "lock", f"rollout of {session.fleet.name}"):
        desired = desired_fleet(session.project, session.fleet, session.selection.boards)
        wanted = Wanted(session, desired, signing, saved, adopt=adopt, back=back)
        made, observed = agreed(wanted.look, output, yes)
        touched = [step.board for step in made.steps if step.action.touches]
        orders = desired.orders(touched, commit, sealed_by(signing, observed))
        left = soak_left(made, observed)
        begun = start(made, session.fleet.rollout, is_shard=part is not None, soak_left=left)
        state = carry_out(session, begun, orders, commit)
    if part:
        keep_result(session, part, state, commit)
    show_result(state, commit, output, talked=made.is_empty)
    tell_github(state, commit, str(part or ""))
    return state


def carry_out(
    session: "Session", begun: "tuple[Rollout, list[Command]]", orders: Mapping[str, Order], commit: str
) -> "Rollout":
    """Run a rollout on; what happens is told, and journalled where anything may be written to."""
    from fleetctl import events
    from fleetctl.cli.interrupted import told_if_interrupted
    from fleetctl.cli.notify import telling_rollout
    from fleetctl.driver import drive
    from fleetctl.report.console import talk
    from fleetctl.report.rollout import Narrator
    from fleetctl.steering import Helm
    from fleetctl.store import Journal
    from fleetctl.tale import journal_begun

    journal = Journal(journal_begun(session.project.state, time.time()))
    narrate = Narrator(talk)

    policy, name, plan = session.fleet.rollout, session.fleet.name, begun[0].plan.digest
    confirm = f"{policy.confirm_timeout:g} s"
    with (
        Helm(session.project.state, f"rollout of {name}") as helm,
        telling_rollout(session.project, name, commit, plan) as tell,
        told_if_interrupted(
            f"a board that was not confirmed goes back by itself within {confirm}; run this again to go on"
        ),
    ):

        def emit(event: events.Event) -> None:
            if orders:
                journal.append({"time": time.time(), **events.event_json(event)})
                tell(event)
            narrate(event)

        emit(events.RolloutStarted(name, commit, plan, len(orders)))
        boards = session.fleet.boards
        return drive(begun, orders, session.transport, emit=emit, steering=helm, boards=boards)


def show_result(state: "Rollout", commit: str, output: Output, *, talked: bool) -> None:
    """The verdicts; a table that would only repeat what was said is left out."""
    from fleetctl.cli.result import read_or_not
    from fleetctl.report.console import emit_json, emit_markdown_table, emit_table
    from fleetctl.report.rollout import ROLLOUT_SCHEMA, VERDICT_COLUMNS, rollout_json, verdict_rows

    with read_or_not():
        match output:
            case Output.JSON:
                emit_json(ROLLOUT_SCHEMA, dict(rollout_json(state, commit)))
            case Output.MARKDOWN:
                emit_markdown_table(VERDICT_COLUMNS, verdict_rows(state))
            case Output.TABLE if not talked:
                emit_table(VERDICT_COLUMNS, verdict_rows(state))


def tell_github(state: "Rollout", commit: str, part: str) -> None:
    """Summary and outputs of the step; `part` says what of a rollout it was, or is empty."""
    from fleetctl.report import github
    from fleetctl.report.rollout import rollout_markdown
    from fleetctl.smoke import Verdict

    github.summarize(rollout_markdown(state, commit, part))
    outcome, counts = state.outcome.value if state.outcome else "done", state.counts()
    github.set_outputs({"outcome": outcome, **{verdict.value: counts[verdict] for verdict in Verdict}})
