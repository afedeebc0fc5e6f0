"""`fleetctl bootstrap`: make fresh boards fit to take releases."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec import Struct, field, to_builtins

from fleetctl.cli.options import (
    DEFAULT_MANIFEST,
    FileOption,
    OnOption,
    Output,
    OutputOption,
    TransportKind,
    TransportOption,
)
from fleetctl.cli.result import show

if TYPE_CHECKING:
    from pathlib import Path

    from fleetctl.bootstrap.boards import Check, Trust
    from fleetctl.bootstrap.wheelhouse import Platform
    from fleetctl.cli.session import Session
    from fleetctl.errors import FleetError
    from fleetctl.manifest.schema import Board
    from fleetctl.transports.ansible import AnsibleTransport
    from fleetctl.transports.orders import Preparation

BOOTSTRAP_SCHEMA = "fleetctl.bootstrap/v1"
DEADLINE = 1800.0  # seconds for one board: an emulated or slow one unpacks for minutes


class Outcome(Struct):
    """How it went on one board."""

    board: str
    platform: "Platform | None" = None
    changed: list[str] = field(default_factory=list)
    exposure: float | None = None  # of the service's unit: 0 to 10, less is better
    checks: list["Check"] = field(default_factory=list)
    error: str = ""
    hint: str = ""

    @property
    def ok(self) -> bool:
        return not self.error and all(check.ok for check in self.checks)


def bootstrap(
    file: FileOption = DEFAULT_MANIFEST,
    on: OnOption = "",
    check: Annotated[
        bool, typer.Option("--check", help="Only look whether boards could be prepared.")
    ] = False,
    transport: TransportOption = TransportKind.MANIFEST,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make fresh boards fit to take releases.

    A board needs ssh and Python 3.7. It gets folders, a service user without login, and an interpreter with
    numpy and a TFLite runtime, from wheels that are fetched here for its platform: it needs no internet.
    What is there already stays as it is. With public keys in inventory/trust, boards trust exactly those from
    then on, and take only what they signed. Exits 1 when a board is not fit.
    """
    from fleetctl.bootstrap.boards import Trust
    from fleetctl.cli.session import open_session, over_ssh
    from fleetctl.signing.trusted_keys import trusted_keys

    session = open_session(file, on, transport)
    ansible = over_ssh(session, transport, "need no preparing")
    keys = trusted_keys(session.project.trust)
    trust = Trust(session.fleet.name, tuple(key.pem for key in keys.values()))
    outcomes = _look(session, ansible, trust)
    if not check:
        wheelhouse = session.project.state / "wheelhouse"
        _prepare(ansible, session.boards, outcomes, wheelhouse, trust)
    ordered = [outcomes[board.name] for board in session.boards]
    show(
        output,
        schema=BOOTSTRAP_SCHEMA,
        data={"boards": [_json(outcome) for outcome in ordered]},
        columns=["board", "platform", "exposure", "changed", "wrong"],
        rows=[_row(outcome) for outcome in ordered],
    )
    if not all(outcome.ok for outcome in ordered):
        raise typer.Exit(1)


def _look(session: "Session", transport: "AnsibleTransport", trust: "Trust") -> dict[str, Outcome]:
    from fleetctl.bootstrap.boards import checks, exposure_of, look, platform_of
    from fleetctl.bootstrap.units import unit_of
    from fleetctl.render.renderer import Renderer
    from fleetctl.report.console import talk

    boards, renderer = session.boards, Renderer.of(session.project.templates)
    named = {board.name: board for board in boards}
    asked = {board.name: look(board, unit_of(renderer, session.fleet, board)) for board in boards}
    outcomes = {}
    with talk.progress("asking boards what they are", total=len(boards)) as advance:
        for reply in transport.describe(boards, asked, deadline=120.0):
            advance(1)
            platform = platform_of(reply.data) if reply.ok else None
            outcomes[reply.board] = Outcome(
                reply.board,
                platform=platform,
                exposure=exposure_of(reply.data),
                checks=checks(named[reply.board], reply.data, trust) if reply.ok else [],
                error=reply.error,
                hint=reply.hint,
            )
    return outcomes


def _prepare(
    transport: "AnsibleTransport",
    boards: "list[Board]",
    outcomes: dict[str, Outcome],
    wheelhouse: "Path",
    trust: "Trust",
) -> None:
    from fleetctl.cli.interrupted import told_if_interrupted
    from fleetctl.device.prepare_verb import TO_BE_PROVED
    from fleetctl.report.console import talk

    fit = [board for board in boards if outcomes[board.name].ok]
    if not fit:
        return
    preparations = _preparations(fit, outcomes, wheelhouse, trust)
    fit = [board for board in fit if board.name in preparations]
    if not fit:
        return
    with (
        told_if_interrupted("boards that were not told of may be fit or not; run this again to go on"),
        talk.progress("preparing boards", total=len(fit)) as advance,
    ):
        for reply in transport.prepare(fit, preparations, deadline=DEADLINE):
            advance(1)
            outcome = outcomes[reply.board]
            outcome.error, outcome.hint = reply.error, reply.hint
            outcome.changed = _words(reply.data)
            if reply.ok:
                talk.done(f"{reply.board}: {', '.join(outcome.changed) or 'fit already'}")
            else:
                talk.fail(f"{reply.board}: {reply.error}")
    if unproved := [board.name for board in fit if TO_BE_PROVED in outcomes[board.name].changed]:
        talk.warn(
            "the interpreter changed under a release that serves with the one before: "
            f"`fleetctl rollout` starts and proves it anew, on {', '.join(unproved)}"
        )


def _preparations(
    boards: "list[Board]", outcomes: Mapping[str, Outcome], wheelhouse: "Path", trust: "Trust"
) -> "dict[str, Preparation]":
    """What to ask of each board, with the wheels of its platform fetched.

    A board whose wheels cannot be had is left out, its outcome says why, and the others go on.
    """
    from fleetctl.bootstrap.boards import manages_environment, preparation
    from fleetctl.errors import FleetError
    from fleetctl.report.console import talk

    wheels: dict[Platform, Mapping[str, Path] | FleetError] = {}
    made = {}
    for board in boards:
        outcome = outcomes[board.name]
        if (platform := outcome.platform) is None:
            continue
        if platform not in wheels and manages_environment(board):
            wheels[platform] = _fetched(platform, wheelhouse)
        had = wheels.get(platform, {}) if manages_environment(board) else {}
        if isinstance(had, FleetError):
            outcome.error, outcome.hint = had.message, had.hint
            talk.fail(f"{board.name}: {had.message}")
        else:
            made[board.name] = preparation(board, platform, had, trust)
    return made


def _fetched(platform: "Platform", wheelhouse: "Path") -> "Mapping[str, Path] | FleetError":
    from fleetctl.bootstrap.wheelhouse import fetch, list_of
    from fleetctl.errors import FleetError
    from fleetctl.report.console import talk
    from fleetctl.store import sha256_file

    talk.step(f"fetching wheels for {platform.name}")
    try:
        wheels = fetch(platform, wheelhouse)
    except FleetError as error:
        return error
    talk.note(f"sha256 of their list: {sha256_file(list_of(platform, wheelhouse))}")
    return wheels


def _words(data: Mapping[str, Any]) -> list[str]:
    from fleetctl.transports.wire import printable

    changed = data.get("changed")
    return [printable(word, 100) for word in changed] if isinstance(changed, list) else []


def _row(outcome: Outcome) -> list[str]:
    wrong = [f"{check.name}: {check.detail}; {check.hint}" for check in outcome.checks if not check.ok]
    if outcome.error:
        wrong.append("; ".join(filter(None, (outcome.error, outcome.hint))))
    platform = outcome.platform.name if outcome.platform else "-"
    exposure = "-" if outcome.exposure is None else f"{outcome.exposure:.1f}"
    return [outcome.board, platform, exposure, ", ".join(outcome.changed) or "nothing", "; ".join(wrong)]


def _json(outcome: Outcome) -> dict[str, Any]:
    platform = outcome.platform.name if outcome.platform else None
    return {**to_builtins(outcome), "platform": platform, "ok": outcome.ok}
