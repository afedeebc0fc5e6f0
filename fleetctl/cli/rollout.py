"""`fleetctl rollout`: bring boards to what git says, wave by wave."""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from fleetctl.cli.options import (
    DEFAULT_MANIFEST,
    FaultsOption,
    FileOption,
    OnOption,
    Output,
    OutputOption,
    TransportKind,
    TransportOption,
    YesOption,
)
from fleetctl.errors import Refused, TransportError, UsageError
from fleetctl.observation import Observed, Reach
from fleetctl.plan import Action, Plan, plan_from_json, refuse_if_stale


def rollout(
    file: FileOption = DEFAULT_MANIFEST,
    on: OnOption = "",
    transport: TransportOption = TransportKind.MANIFEST,
    faults: FaultsOption = None,
    saved: Annotated[
        Path | None, typer.Option("--plan", help="Do this saved plan, or refuse if it is stale.")
    ] = None,
    yes: YesOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Bring boards to what git says, wave by wave, proving each.

    Shows the plan and asks. A board counts as updated only when its serving process has answered the golden
    samples; one that fails goes back by itself, and a wave that fails its gate closes the ones behind it.
    Boards that are interrupted go back by themselves too: running this again goes on from there.
    """
    from fleetctl import events
    from fleetctl.cli.session import open_session
    from fleetctl.desired import desired_fleet
    from fleetctl.report.console import emit_json, emit_table, emit_text, talk
    from fleetctl.report.plan import plan_summary, plan_text
    from fleetctl.report.rollout import ROLLOUT_SCHEMA, VERDICT_COLUMNS, Narrator, rollout_json, verdict_rows
    from fleetctl.revision import commit_of
    from fleetctl.rollout import failure, run
    from fleetctl.store import Journal, Lock

    session = open_session(file, on, transport, faults)
    with Lock(session.project.state / "lock", f"rollout of {session.fleet.name}"):
        desired = desired_fleet(session.project, session.fleet, session.selection.boards)
        observed = session.observe()
        made = desired.plan(observed)
        if saved is not None:
            refuse_if_stale(_read_plan(saved), made)
        _refuse_blocked(made, observed)
        if made.is_empty and not made.count(Action.DEFER):
            talk.done(f"nothing to do: {plan_summary(made)}")
        elif not made.is_empty:
            print(plan_text(made), file=sys.stderr if output is not Output.TABLE else sys.stdout)
            ask(yes, f"Roll out to {len([s for s in made.steps if s.action.touches])} boards?")
        commit = commit_of(session.project.root)
        orders = desired.orders([step.board for step in made.steps if step.action.touches], commit)
        journal = Journal(
            session.project.state / "journal" / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.jsonl"
        )
        narrate = Narrator(talk)

        def emit(event: events.Event) -> None:
            journal.append({"time": time.time(), **events.event_json(event)})
            narrate(event)

        if not made.is_empty:
            emit(events.RolloutStarted(session.fleet.name, commit, made.digest, len(orders)))
        state = run(made, session.fleet.rollout, orders, session.transport, emit=emit if orders else narrate)
    match output:
        case Output.JSON:
            emit_json(ROLLOUT_SCHEMA, dict(rollout_json(state, commit)))
        case Output.MARKDOWN:
            from fleetctl.report.console import markdown_table

            emit_text(markdown_table(VERDICT_COLUMNS, verdict_rows(state)))
        case Output.TABLE if orders:
            emit_table(VERDICT_COLUMNS, verdict_rows(state))
    if error := failure(state):
        raise error


def _read_plan(path: Path) -> Plan:
    try:
        return plan_from_json(json.loads(path.read_bytes()))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint="make one with `fleetctl plan --save`") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is not a saved plan", hint="make one with `fleetctl plan --save`"
        ) from error


def _refuse_blocked(made: Plan, observed: Mapping[str, Observed]) -> None:
    """Stop before anything is touched when a board needs a person first."""
    blocked = [observed[step.board] for step in made.steps if step.action is Action.BLOCKED]
    if not blocked:
        return
    refused = [seen for seen in blocked if seen.reach is Reach.REFUSED]
    first = (refused or blocked)[0]
    more = f" (and {len(blocked) - 1} more boards)" if len(blocked) > 1 else ""
    leave_out = ",".join(f"!{seen.board}" for seen in blocked[:5])
    hint = "; ".join(part for part in (first.hint, f"or leave out with --on '{leave_out}'") if part)
    kind = Refused if refused else TransportError
    raise kind(f"{first.board}: {first.error or 'could not be asked'}{more}; nothing was changed", hint=hint)


def ask(yes: bool, question: str) -> None:
    """Ask before boards are written to, unless told not to."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to be asked", hint="say --yes to go on without asking")
    typer.confirm(question, abort=True, err=True)
