"""`fleetctl rollback`: put boards back on a release they still have."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

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
    never_empty,
)
from fleetctl.cli.result import read_or_not, show
from fleetctl.errors import RollbackFailed, TransportError, UsageError
from fleetctl.untrusted import mapping, mappings

if TYPE_CHECKING:
    from fleetctl.cli.session import Session
    from fleetctl.signing.signing import Signing
    from fleetctl.signing.statement import Signed
    from fleetctl.transports.base import Reply


def rollback(
    file: FileOption = DEFAULT_MANIFEST,
    on: OnOption = "",
    to: Annotated[
        str,
        typer.Option(
            "--to",
            callback=never_empty("the release that each ran before"),
            help="A release they have, by the start of its digest, or a commit.",
        ),
    ] = "",
    transport: TransportOption = TransportKind.MANIFEST,
    faults: FaultsOption = None,
    yes: YesOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Put boards back on a release they still have.

    Without --to each board goes back to the release it ran before; one that did so already stays there, so
    that the same command may be given again. Where releases are signed, so is the way back.
    With a commit each goes to what it ran as of that commit, by git's history and its own receipts.
    Git still says what it said: revert the commit too, or the next rollout brings the release back.
    """
    from fleetctl.cli.agreed import ask
    from fleetctl.cli.interrupted import told_if_interrupted
    from fleetctl.cli.session import open_session
    from fleetctl.listed import listed

    session = open_session(file, on, transport, faults)
    _signing(session)
    ask(yes, f"Roll back {session.selection}?")
    with told_if_interrupted("`fleetctl status` says which boards went back; run this again to go on"):
        results = roll_back(session, to, "command")
    with read_or_not():
        show(
            output,
            schema="fleetctl.rollback/v1",
            data={"boards": results},
            columns=["board", "result", "release"],
            rows=[
                [r["board"], "rolled back" if r["rolled_back"] else "failed", str(r["release"] or "")[:8]]
                for r in results
            ],
            nothing="no board is to go back",
        )
    if failed := _failed(results):
        raise RollbackFailed(
            f"not rolled back: {listed(failed)}", hint="`fleetctl status` says what they run"
        )


def roll_back(session: "Session", to: str, way: str) -> list[dict[str, Any]]:
    """Put the boards of a session back, under the fleet's lock; how it ended, board by board.

    That it began and how it ended is written down; `way` is how it was asked for, `command` or `page`.

    Raises:
        FleetError: no board can go back, or somebody else is at work on the fleet.
    """
    from fleetctl.audit import Audit, Deed
    from fleetctl.cli.session import READ_DEADLINE
    from fleetctl.steering import whoami
    from fleetctl.store import Lock

    signing = _signing(session)
    deed = Deed.to(session.selection.boards, "rollback", whoami(), way)
    with (
        Lock(session.project.state / "lock", f"rollback of {session.fleet.name}"),
        Audit(session.project.state).of(deed, begun=True) as ending,
    ):
        targets = _targets(session, to, READ_DEADLINE)
        replies = session.transport.revert(
            [board for board in session.boards if board.name in targets],
            targets,
            signed=_permissions(session, signing, targets, READ_DEADLINE) if signing else {},
            reason="asked for by `fleetctl rollback`",
            deadline=session.fleet.rollout.deadline,
        )
        results = [_told(reply) for reply in replies]
        if failed := _failed(results):
            ending.failed = f"{len(failed)} of {len(results)} did not go back: {', '.join(failed[:5])}"
    return results


def _signing(session: "Session") -> "Signing | None":
    """What signs the way back; None where releases are not signed.

    Raises:
        SigningError: they are, and there is no key.
    """
    from fleetctl.signing.signing import open_signing

    if signing := open_signing(session.project, session.fleet, os.environ):
        signing.require_key()
    return signing


def _told(reply: "Reply") -> dict[str, Any]:
    from fleetctl.report.console import talk

    ok = reply.ok and reply.data.get("state") == "reverted"
    what = _what(reply.data) if ok else reply.error or "not rolled back"
    (talk.done if ok else talk.fail)(f"{reply.board}: {what}")
    release = _release_of(reply.data.get("receipt")) if ok else None
    return {"board": reply.board, "rolled_back": ok, "release": release, "error": reply.error}


def _release_of(receipt: object) -> str | None:
    release = mapping(receipt).get("release")
    return release if isinstance(release, str) else None


def _what(data: Mapping[str, Any]) -> str:
    stayed = data.get("stayed")
    return "went back before, and stays" if stayed else "rolled back"


def _failed(results: Iterable[Mapping[str, Any]]) -> list[str]:
    return [result["board"] for result in results if not result["rolled_back"]]


def _targets(session: "Session", to: str, deadline: float) -> dict[str, str | None]:
    """The full digest for each board that is to go back, looked up in what it says it ran."""
    if not to:
        return {board.name: None for board in session.boards}
    receipts = _receipts(session, deadline)
    is_digest = len(to) >= 6 and set(to) <= set("0123456789abcdef")
    if is_digest and any(_matching(to, said) for said in receipts.values()):
        return {board: _match(board, to, said) for board, said in receipts.items()}
    return _as_of(session, to, receipts)


def _receipts(session: "Session", deadline: float) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    from fleetctl.listed import listed

    replies = list(session.transport.history(session.boards, last=1000, deadline=deadline))
    if silent := {reply.board: reply.error or reply.status.value for reply in replies if not reply.ok}:
        first, *others = silent
        raise TransportError(
            f"{first}: {silent[first]}" + (f"; no history from {listed(others)} either" if others else ""),
            hint=_leave_out(silent),
        )
    return {reply.board: mappings(reply.data.get("receipts")) for reply in replies}


def _leave_out(boards: Iterable[str]) -> str:
    """All of them at once: nobody in a hurry should hear of boards one by one."""
    return f"say `{','.join('!' + board for board in boards)}` in --on to leave out what cannot go back"


def _as_of(
    session: "Session", rev: str, receipts: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, str | None]:
    """What each board ran as of a commit; boards that run it now are told, and left out."""
    from fleetctl.commits import Commits
    from fleetctl.listed import listed
    from fleetctl.origins import release_at
    from fleetctl.report.console import talk

    commits = Commits(session.project)
    try:
        commit = commits.resolve(rev)
    except UsageError as error:
        raise UsageError(
            f"{rev!r} is not the start of a digest that these boards know, and {error.message}",
            hint=f"`fleetctl history` lists digests, of which six digits do; {error.hint}".removesuffix("; "),
        ) from None
    order, seen = commits.up_to(commit), session.observe()
    releases = {board: release_at(said, order) for board, said in receipts.items()}
    if lost := [board for board, release in releases.items() if release is None]:
        first, *others = lost
        raise UsageError(
            f"{first} has no receipt of anything from commit {commit[:12]} or before"
            + (f", nor has {listed(others)}" if others else ""),
            hint=f"see `fleetctl history --on {first}`, or {_leave_out(lost)}",
        )
    found: dict[str, str | None] = {}
    for board, release in releases.items():
        if release == seen[board].current:
            talk.note(f"{board} runs what it ran as of {commit[:12]}")
        else:
            found[board] = release
    return found


def _permissions(
    session: "Session", signing: "Signing", targets: dict[str, str | None], deadline: float
) -> "dict[str, Signed]":
    """Signatures that let boards go back. Each has to name a release, so `targets` is filled in."""
    seen = session.observe()
    boards = [b for b in session.boards if b.name in targets]
    unnamed = [b for b in boards if targets[b.name] is None and not seen[b.name].pending]
    for reply in session.transport.history(unnamed, last=1000, deadline=deadline):
        targets[reply.board] = _before(reply.data.get("receipts"), seen[reply.board].current)
    return {name: signing.permission(seen[name], target) for name, target in targets.items() if target}


def _before(receipts: object, current: str | None) -> str | None:
    """The release that the board itself would go back to; None where it would stay, or has none."""
    from fleetctl.device.way_back import release_before, went_back

    said = mappings(receipts)
    return None if went_back(said, current) else release_before(said, current)


def _matching(prefix: str, receipts: Iterable[Mapping[str, Any]]) -> set[str]:
    said = (receipt.get("release") for receipt in receipts)
    return {release for release in said if isinstance(release, str) and release.startswith(prefix)}


def _match(board: str, prefix: str, receipts: Iterable[Mapping[str, Any]]) -> str:
    matches = _matching(prefix, receipts)
    if len(matches) != 1:
        what = "no release" if not matches else "several releases"
        raise UsageError(
            f"{board} has run {what} that {prefix} stands for", hint=f"see `fleetctl history --on {board}`"
        )
    return matches.pop()
