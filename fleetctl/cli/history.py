"""`fleetctl history`: which releases boards ran, when, and what they proved."""

from collections.abc import Mapping
from typing import Annotated, Any

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
from fleetctl.untrusted import text


def history(
    file: FileOption = DEFAULT_MANIFEST,
    on: OnOption = "",
    last: Annotated[int, typer.Option("-n", "--last", min=1, help="Receipts to show of each board.")] = 10,
    transport: TransportOption = TransportKind.MANIFEST,
    faults: FaultsOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the releases that boards ran, with their proof.

    The boards themselves keep this record; it does not depend on who rolled out from where. Exits 1 when a
    board did not answer.
    """
    from fleetctl.cli.session import READ_DEADLINE, open_session
    from fleetctl.receipts import settled
    from fleetctl.report.console import talk

    session = open_session(file, on, transport, faults)
    receipts: list[Mapping[str, Any]] = []
    silent = 0
    # Twice as many: a board writes one receipt when it has proved a release, and one when that is settled.
    for reply in session.transport.history(session.boards, last=2 * last, deadline=READ_DEADLINE):
        if not reply.ok:
            talk.warn(f"{reply.board}: {reply.error or reply.status.value}")
            silent += 1
            continue
        receipts += [
            {**receipt, "board": reply.board} for receipt in settled(reply.data.get("receipts"))[-last:]
        ]
    receipts.sort(key=lambda receipt: str(receipt.get("time")), reverse=True)
    show(
        output,
        schema="fleetctl.history/v1",
        data={"receipts": receipts},
        columns=["time", "board", "release", "before", "outcome", "p95", "commit", "why"],
        rows=[_row(receipt) for receipt in receipts],
        nothing="no board that answered has a record of a release",
    )
    if silent:
        raise typer.Exit(1)


def _row(receipt: Mapping[str, Any]) -> list[str]:
    from fleetctl.observation import latency_p95_ms

    p95 = latency_p95_ms(receipt)
    reasons = receipt.get("reasons")
    return [
        _text(receipt, "time"),
        _text(receipt, "board"),
        _text(receipt, "release")[:8] or "none",
        _text(receipt, "previous")[:8] or "none",
        f"{_text(receipt, 'outcome')} {_text(receipt, 'state')}".strip(),
        f"{p95:.1f} ms" if p95 is not None else "",
        _text(receipt, "commit")[:12],
        "; ".join(str(reason) for reason in reasons)[:200] if isinstance(reasons, list) else "",
    ]


def _text(receipt: Mapping[str, Any], key: str) -> str:
    return text(receipt.get(key), 100)
