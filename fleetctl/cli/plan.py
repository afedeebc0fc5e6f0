"""`fleetctl plan`: what would change, and why."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetctl.cli.committed import AdoptOption
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
)

if TYPE_CHECKING:
    from fleetctl.cli.agreed import Look
    from fleetctl.cli.session import Session
    from fleetctl.desired import Desired
    from fleetctl.plan import Plan

_WITHOUT_SAVE = "without --save it is printed, with `--output json` for machines"


def plan(
    file: FileOption = DEFAULT_MANIFEST,
    on: OnOption = "",
    transport: TransportOption = TransportKind.MANIFEST,
    faults: FaultsOption = None,
    back: BackOption = False,
    adopt: AdoptOption = False,
    save: Annotated[Path | None, typer.Option("--save", help="Keep the plan for `rollout --plan`.")] = None,
    base: Annotated[
        str | None,
        typer.Option("--base", metavar="REV", help="Hold the change since this commit against it."),
    ] = None,
    by_commit: Annotated[
        bool,
        typer.Option(
            "--commit-by-commit", help="With --base: each commit since then answers for its own dangers."
        ),
    ] = False,
    changes_ok: Annotated[
        bool,
        typer.Option("--changes-ok", help="With --base: exit 0 for a change that nothing speaks against."),
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say what a rollout would change, board by board, and why.

    Reads every selected board and writes to none. Exits 0 when every board does what git says, 1 when
    something would change or a board is offline. Where `rollout` would refuse, the plan says what to do, and
    it exits 11 when a module image is still to be made, 21 when a board could not load its release, 30 when
    one answers nothing of use, 31 when one refuses us or would not take what is signed here, and 32 when the
    IoT Hub has no room for it.

    With --base no board is asked: the files here are held against a commit, such as origin/main, and only
    what changes is shown. Exits 12 when the change is dangerous and does not say that it is meant.

    With --commit-by-commit too, what a commit on the way did and said that it meant is allowed; what one did
    without saying so is refused, whatever came behind it, until that is taken back.
    """
    if base is not None:
        _refuse_with_base({"--on": on, "--save": save, "--back": back, "--adopt": adopt, "--faults": faults})
        from fleetctl.cli.proposed import show_proposal

        show_proposal(file, base, output, by_commit=by_commit, changes_ok=changes_ok)
        return
    _refuse_without_base({"--commit-by-commit": by_commit, "--changes-ok": changes_ok})
    from fleetctl.cli.named_file import place_of
    from fleetctl.cli.session import open_session
    from fleetctl.plan import Action

    if save is not None:
        place_of(save, hint=_WITHOUT_SAVE)  # before any board is asked
    session = open_session(file, on, transport, faults, to_look=True)
    desired, seen = _look(session, adopt=adopt, back=back)
    if save is not None:
        _keep(seen.plan, save)
    _show(seen.plan, desired, output)
    _tell_github(seen.plan)
    _refuse(session, desired, seen)
    if seen.plan.count(Action.NOTHING) < sum(1 for _ in seen.plan.steps):
        raise typer.Exit(1)


def _look(session: "Session", *, adopt: bool, back: bool) -> "tuple[Desired, Look]":
    """What git says, what boards run, and what would bring them there."""
    from fleetctl.cli.agreed import Look
    from fleetctl.desired import desired_fleet
    from fleetctl.report.console import talk
    from fleetctl.signing.signing import open_signing

    signing = open_signing(session.project, session.fleet, os.environ, back=back)
    if signing and signing.refusal:  # a pull request is planned where no key should ever be
        talk.warn(f"this can be planned here, not rolled out: {signing.refusal.message}")
    desired = desired_fleet(session.project, session.fleet, session.selection.boards, to_look=True)
    observed = session.observe()
    strangers = session.strangers(observed, desired.releases, adopt=adopt, back=back)
    return desired, Look(desired.plan(observed, signing, strangers), observed)


def _keep(made: "Plan", save: Path) -> None:
    from fleetctl.cli.named_file import write_named
    from fleetctl.plan import PLAN_SCHEMA
    from fleetctl.report.console import talk

    document = {"schema": PLAN_SCHEMA, **made.to_json()}
    write_named(save, json.dumps(document, indent=2) + "\n", hint=_WITHOUT_SAVE)
    talk.done(f"plan saved to {save}; `fleetctl rollout --plan {save}` does exactly this or refuses")


def _show(made: "Plan", desired: "Desired", output: Output) -> None:
    from fleetctl.plan import PLAN_SCHEMA
    from fleetctl.proposal.quota import hub_cost
    from fleetctl.report.console import emit_json, emit_text, talk
    from fleetctl.report.plan import plan_markdown, plan_text

    cost = hub_cost(made, desired.fleet, desired.configs)
    match output:
        case Output.JSON:
            hub = cost.to_json() if cost else None
            emit_json(PLAN_SCHEMA, {"digest": made.digest, **made.to_json(), "iothub": hub})
        case Output.MARKDOWN:
            emit_text(plan_markdown(made))
        case Output.TABLE:
            emit_text(plan_text(made))
    if cost:
        from fleetctl.report.proposal import hub_text

        talk.note(hub_text(cost))


def _tell_github(made: "Plan") -> None:
    from fleetctl.plan import Action
    from fleetctl.report import github
    from fleetctl.report.plan import plan_markdown

    github.summarize(plan_markdown(made))
    stuck = {"refused": len(made.refused), "blocked": made.count(Action.BLOCKED)}
    github.set_outputs({"changes": not made.is_empty, **stuck, "digest": made.digest})


def _refuse(session: "Session", desired: "Desired", seen: "Look") -> None:
    """End as a rollout of this plan would, where it would not begin: the plan has said what to do."""
    from fleetctl.cli.agreed import refuse_blocked
    from fleetctl.cli.over_iothub import refuse_unready
    from fleetctl.errors import Incompatible, SigningError

    if seen.plan.refused:
        raise typer.Exit(Incompatible.exit_code)
    if seen.plan.barred:
        raise typer.Exit(SigningError.exit_code)
    refuse_blocked(seen.plan, seen.observed, so="a rollout would refuse")
    refuse_unready(session, seen.plan, desired)


def _refuse_without_base(given: Mapping[str, object]) -> None:
    from fleetctl.errors import UsageError

    if wrong := [name for name, value in given.items() if value]:
        raise UsageError(f"{wrong[0]} is about a change, and nothing says since when", hint="give --base")


def _refuse_with_base(given: Mapping[str, object]) -> None:
    from fleetctl.errors import UsageError

    if wrong := [name for name, value in given.items() if value]:
        raise UsageError(
            f"--base and {wrong[0]} do not go together",
            hint="a change is compared as a whole, without boards",
        )
