"""`fleetctl leave`: give boards back to what ran on them before fleetctl."""

import os
from typing import TYPE_CHECKING, Any

from fleetctl.cli.options import (
    DEFAULT_MANIFEST,
    FileOption,
    OnOption,
    Output,
    OutputOption,
    TransportKind,
    TransportOption,
    YesOption,
)
from fleetctl.cli.result import read_or_not, show

if TYPE_CHECKING:
    from fleetctl.cli.session import Session
    from fleetctl.signing.statement import Signed
    from fleetctl.transports.base import Reply

LEAVE_SCHEMA = "fleetctl.leave/v1"


def leave(
    file: FileOption = DEFAULT_MANIFEST,
    on: OnOption = "",
    transport: TransportOption = TransportKind.MANIFEST,
    yes: YesOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Give boards back to what ran on them before fleetctl.

    Ends the service of releases, and brings back the unit, the link and, from the snapshot that the first
    release took, the files that are gone. Releases and history stay on the board. Take it out of the manifest
    too, or the next rollout adopts it again. A board that has nothing of ours to end stays as it is.
    """
    from fleetctl.cli.agreed import ask
    from fleetctl.cli.interrupted import told_if_interrupted
    from fleetctl.cli.session import open_session, over_ssh
    from fleetctl.errors import RollbackFailed
    from fleetctl.listed import listed
    from fleetctl.store import Lock

    session = open_session(file, on, transport)
    ansible = over_ssh(session, transport, "had nothing on them before")
    ask(yes, f"Leave {session.selection}?")
    with (
        told_if_interrupted("`fleetctl status` says which boards were left; run this again to go on"),
        Lock(session.project.state / "lock", f"leaving boards of {session.fleet.name}"),
    ):
        replies = ansible.leave(
            session.boards,
            reason="asked for by `fleetctl leave`",
            deadline=session.fleet.rollout.deadline,
            signed=_permissions(session),
        )
        results = [_told(reply) for reply in replies]
    with read_or_not():
        show(
            output,
            schema=LEAVE_SCHEMA,
            data={"boards": results},
            columns=["board", "result", "restored", "snapshot"],
            rows=[
                [
                    r["board"],
                    "left" if r["left"] else "failed",
                    str(len(r["restored"])),
                    r["snapshot"] or "none",
                ]
                for r in results
            ],
        )
    if failed := [r["board"] for r in results if not r["left"]]:
        raise RollbackFailed(f"not left: {listed(failed)}", hint="`fleetctl status` says what they run")


def _permissions(session: "Session") -> "dict[str, Signed]":
    """What lets boards leave that demand signatures; nothing where releases are not signed."""
    from fleetctl.device.trust import NOTHING
    from fleetctl.signing.signing import open_signing

    signing = open_signing(session.project, session.fleet, os.environ)
    if signing is None:
        return {}
    signing.require_key()
    return {board: signing.permission(seen, NOTHING) for board, seen in session.observe().items()}


def _told(reply: "Reply") -> dict[str, Any]:
    """What became of one board, said too; its own words are untrusted."""
    from fleetctl.report.console import talk
    from fleetctl.transports.wire import printable

    said = reply.data
    left = reply.ok and said.get("state") == "left"
    what = "nothing to do: no release of ours runs on it" if said.get("stayed") else "left"
    (talk.done if left else talk.fail)(f"{reply.board}: {what if left else reply.error}")
    restored = said.get("restored")
    return {
        "board": reply.board,
        "left": left,
        "restored": [printable(path) for path in restored[:1000]] if isinstance(restored, list) else [],
        "snapshot": printable(said.get("snapshot")) or None,
        "error": reply.error,
    }
