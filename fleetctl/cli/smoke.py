"""`fleetctl smoke`: the golden questions, asked of what is serving now."""

from typing import TYPE_CHECKING, Any

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
)
from fleetctl.cli.result import show
from fleetctl.transports.base import Reply

if TYPE_CHECKING:
    from fleetctl.desired import Desired


def smoke(
    file: FileOption = DEFAULT_MANIFEST,
    on: OnOption = "",
    transport: TransportOption = TransportKind.MANIFEST,
    faults: FaultsOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Ask the serving processes the golden questions, changing nothing.

    The answers are held against the release that git says each board should run.
    Exits 1 when one does not pass.
    """
    from fleetctl.cli.session import READ_DEADLINE, open_session
    from fleetctl.desired import desired_fleet

    session = open_session(file, on, transport, faults)
    desired = desired_fleet(session.project, session.fleet, session.selection.boards)
    replies = session.transport.probe(session.boards, deadline=READ_DEADLINE)
    results = [_judged(desired, reply) for reply in replies if reply.board in desired.releases]
    results.sort(key=lambda result: result["outcome"] == "passed")
    show(
        output,
        schema="fleetctl.smoke/v1",
        data={"boards": results},
        columns=["board", "outcome", "agreement", "p95", "why"],
        rows=[_row(result) for result in results],
    )
    if any(result["outcome"] != "passed" for result in results) or len(results) < len(session.boards):
        raise typer.Exit(1)


def _judged(desired: "Desired", reply: Reply) -> dict[str, Any]:
    from fleetctl.observation import latency_p95_ms
    from fleetctl.untrusted import mapping

    if not reply.ok:
        return _result(reply.board, reply.status.value, [reply.error], None, None)
    receipt = mapping(reply.data.get("receipt"))
    judgement = desired.judge(reply.board, receipt)
    p95 = latency_p95_ms(receipt)
    agreement = next((check.measured for check in judgement.checks if check.name == "agreement"), None)
    return _result(reply.board, judgement.outcome.value, list(judgement.reasons), agreement, p95)


def _result(
    board: str, outcome: str, reasons: list[str], agreement: float | None, p95_ms: float | None
) -> dict[str, Any]:
    return {"board": board, "outcome": outcome, "agreement": agreement, "p95_ms": p95_ms, "reasons": reasons}


def _row(result: dict[str, Any]) -> list[str]:
    agreement, p95 = result["agreement"], result["p95_ms"]
    return [
        result["board"],
        result["outcome"],
        f"{agreement:.0%}" if agreement is not None else "",
        f"{p95:.1f} ms" if p95 is not None else "",
        "; ".join(result["reasons"]),
    ]
