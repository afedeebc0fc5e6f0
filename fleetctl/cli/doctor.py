"""`fleetctl doctor`: one board in detail, what is wrong with it and what to do."""

import shutil
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from fleetctl.cli import complete
from fleetctl.cli.options import (
    DEFAULT_MANIFEST,
    FaultsOption,
    FileOption,
    Output,
    OutputOption,
    TransportKind,
    TransportOption,
    YesOption,
    never_empty,
)
from fleetctl.doctor import Grade, Remedy

if TYPE_CHECKING:
    from fleetctl.cli.session import Session
    from fleetctl.doctor import Finding, Proof
    from fleetctl.transports.base import Reply

DOCTOR_SCHEMA = "fleetctl.doctor/v1"
_BOOT_S = 300.0  # seconds that a board may take to boot before it counts as lost
_LOOK_S = 3.0  # seconds between two looks whether it is back
_AWAY = "see to its power and its network; `fleetctl status --watch` shows when it is back"


def doctor(
    board: Annotated[
        str,
        typer.Argument(
            metavar="BOARD",
            callback=never_empty(or_else="name one board"),
            help="One board.",
            autocompletion=complete.boards,
        ),
    ],
    file: FileOption = DEFAULT_MANIFEST,
    remedy: Annotated[
        Remedy | None, typer.Option("--remedy", help="Take this rung of the ladder first, after asking.")
    ] = None,
    transport: TransportOption = TransportKind.MANIFEST,
    faults: FaultsOption = None,
    yes: YesOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Examine one board, and say what to do about each thing that is wrong.

    Power, temperature, disk, memory, load, clock, network, service, accelerator, runtime, release, and the
    golden samples asked anew. Changes nothing, unless --remedy asks for a rung of the ladder for a stuck
    accelerator. Exits 1 when a check is bad.
    """
    from fleetctl.cli.session import open_session
    from fleetctl.errors import UsageError

    session = open_session(file, board, transport, faults)
    if len(session.boards) != 1:
        raise UsageError(f"`{board}` is {session.selection}", hint="doctor examines one board at a time")
    if remedy is not None:
        _take(session, remedy, yes)
    findings = _examine(session)
    _show(session.boards[0].name, findings, output)
    if any(finding.grade is Grade.BAD for finding in findings):
        raise typer.Exit(1)


def _examine(session: "Session") -> tuple["Finding", ...]:
    """Ask the board three things: what it runs, what it lives with, and the golden samples.

    Raises:
        TransportError, Refused: it cannot be asked.
    """
    from fleetctl.cli.session import READ_DEADLINE, examining
    from fleetctl.desired import desired_fleet
    from fleetctl.doctor import diagnose
    from fleetctl.errors import BuildError, LockStale
    from fleetctl.examination import Examination
    from fleetctl.report.console import talk
    from fleetctl.status import assess

    [board] = session.boards
    reply = _only(examining(session.transport).examine(session.boards, deadline=READ_DEADLINE), board.name)
    found = Examination.parse(reply.data)
    now = time.time()
    seen = session.observe()[board.name]
    digest, refusals = None, list[str]()
    try:
        desired = desired_fleet(session.project, session.fleet, [board.name])
        digest = desired.releases[board.name].digest
        refusals = [
            f"{r}; {r.fix}" for r in desired.refusals({board.name: found.platform}).get(board.name, ())
        ]
    except (LockStale, BuildError) as error:
        talk.warn(f"what git says is not known: {error.message}")
    status = assess(board, digest, seen)
    return diagnose(board, status, found, _proof(session), refusals=refusals, now=now)


def _proof(session: "Session") -> "Proof":
    """What the service answers to its golden samples now, by the board's own judge."""
    from fleetctl.cli.session import READ_DEADLINE
    from fleetctl.doctor import Proof
    from fleetctl.observation import latency_p95_ms
    from fleetctl.smoke import Outcome
    from fleetctl.untrusted import mapping

    [board] = session.boards
    replies = list(session.transport.probe(session.boards, deadline=READ_DEADLINE))
    if not replies or not replies[0].ok:
        return Proof(None, (replies[0].error if replies else f"{board.name} gave no answer",))
    receipt = mapping(replies[0].data.get("receipt"))
    reasons = receipt.get("reasons")
    told = tuple(str(r)[:300] for r in reasons[:5]) if isinstance(reasons, list) else ()
    known = [outcome for outcome in Outcome if outcome.value == receipt.get("outcome")]
    return Proof(known[0] if known else None, told, latency_p95_ms(receipt))


def _take(session: "Session", remedy: Remedy, yes: bool) -> None:
    """Take one rung of the ladder, and wait until the board is back."""
    from fleetctl.cli.agreed import ask
    from fleetctl.cli.interrupted import told_if_interrupted
    from fleetctl.cli.session import READ_DEADLINE, examining
    from fleetctl.report.console import talk
    from fleetctl.store import Lock

    [board] = session.boards
    ask(yes, f"{remedy.value.replace('-', ' ').capitalize()} on {board.name}? It does not serve meanwhile.")
    with (
        told_if_interrupted(f"`fleetctl doctor {board.name}` says how the board is"),
        Lock(session.project.state / "lock", f"doctor of {board.name}"),
    ):
        before = session.observe()[board.name].health.uptime_s
        replies = examining(session.transport).remedy(
            session.boards, step=remedy.value, deadline=READ_DEADLINE
        )
        talk.done(f"{board.name}: {_only(replies, board.name).data.get('done')}")
        if remedy is Remedy.REBOOT:
            _wait_for_boot(session, before)


def _wait_for_boot(session: "Session", before: float | None) -> None:
    from fleetctl.errors import TransportError
    from fleetctl.observation import Reach
    from fleetctl.report.console import talk

    [board] = session.boards
    talk.step(f"waiting for {board.name} to boot")
    began = time.monotonic()
    while time.monotonic() - began < _BOOT_S:
        time.sleep(_LOOK_S)
        seen = session.observe()[board.name]
        up = seen.health.uptime_s
        if seen.reach is Reach.REACHED and (up is None or before is None or up < before):
            return
    raise TransportError(
        f"{board.name} did not come back within {_BOOT_S:g} s", hint="look at the board itself"
    )


def _only(replies: "Iterator[Reply]", board: str) -> "Reply":
    """The one reply, which must be good.

    Raises:
        TransportError, Refused: it is not.
    """
    from fleetctl.errors import Refused, TransportError
    from fleetctl.transports.base import ReplyStatus

    for reply in replies:
        if reply.ok:
            return reply
        kind, hint = (Refused, "") if reply.status is ReplyStatus.REFUSED else (TransportError, _AWAY)
        raise kind(f"{board}: {reply.error or reply.status.value}", hint=reply.hint or hint)
    raise TransportError(f"{board} gave no answer")


def _show(board: str, findings: tuple["Finding", ...], output: Output) -> None:
    from fleetctl.report.console import emit_json, emit_text
    from fleetctl.report.doctor import doctor_markdown, doctor_text
    from fleetctl.report.screen import print_coloured

    match output:
        case Output.JSON:
            healthy = not any(finding.grade is Grade.BAD for finding in findings)
            checks = [finding.to_json() for finding in findings]
            emit_json(DOCTOR_SCHEMA, {"board": board, "healthy": healthy, "checks": checks})
        case Output.MARKDOWN:
            emit_text(doctor_markdown(board, findings))
        case Output.TABLE:
            width = max(60, shutil.get_terminal_size((80, 24)).columns)
            print_coloured(doctor_text(board, findings, width))
