"""What every verb that talks to boards starts from: the fleet, the boards, a way to reach them."""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from fleetctl.cli.options import TransportKind
from fleetctl.commits import Commits
from fleetctl.errors import UsageError
from fleetctl.manifest.schema import Board, Fleet, Via
from fleetctl.observation import Observed
from fleetctl.observing import observe
from fleetctl.project import Project
from fleetctl.release import Release
from fleetctl.selector import Selection, select
from fleetctl.signing.signing import Barred
from fleetctl.transports.base import Examines, Transport
from fleetctl.untrusted import mappings

if TYPE_CHECKING:
    from fleetctl.transports.ansible import AnsibleTransport

# Reading should not wait for a whole release's deadline.
READ_DEADLINE = 30.0


class Session(Struct, frozen=True):
    """A fleet with the boards that a verb works on, reachable through `transport`."""

    project: Project
    fleet: Fleet
    selection: Selection
    transport: Transport

    @property
    def boards(self) -> list[Board]:
        """The selected boards, in manifest order."""
        return [self.fleet.boards[name] for name in self.selection.boards]

    def observe(self) -> Mapping[str, Observed]:
        """What each selected board runs now."""
        return observe(self.transport, self.boards, deadline=READ_DEADLINE)

    def receipts(self, boards: Collection[str]) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """The receipts that boards have, oldest first; one that does not answer is left out."""
        asked = [self.fleet.boards[name] for name in boards]
        replies = self.transport.history(asked, last=1000, deadline=READ_DEADLINE) if asked else ()
        return {reply.board: mappings(reply.data.get("receipts")) for reply in replies if reply.ok}

    def strangers(
        self, observed: Mapping[str, Observed], releases: Mapping[str, Release], *, adopt: bool, back: bool
    ) -> dict[str, Barred]:
        """Boards that would lose a release which this repository's history does not know, or a newer one."""
        from fleetctl.origins import strangers
        from fleetctl.revision import working_commit

        desired = {board: release.digest for board, release in releases.items()}
        commits, working = Commits(self.project), working_commit(self.project)
        return strangers(observed, desired, commits, self.receipts, working=working, adopt=adopt, back=back)


def open_session(
    file: Path | Project,
    on: str,
    kind: TransportKind,
    faults: Path | None = None,
    *,
    to_look: bool = False,
) -> Session:
    """Load the manifest (or a project's), select boards, and make the transport that `kind` names.

    A verb that changes no board says `to_look`: then an unchanged manifest is not read anew.

    Raises:
        ManifestError, UsageError: the manifest, the selection, or the lab is not as it must be.
    """
    if faults is not None and kind is not TransportKind.FAKE:
        raise UsageError("--faults needs --transport fake", hint="real and virtual boards bring their own")
    project = file if isinstance(file, Project) else Project(file)
    fleet = _looked_at(project.manifest) if to_look else _read(project.manifest)
    selection = select(fleet, on)
    match kind:
        case TransportKind.FAKE:
            transport = _fake(project, fleet, faults)
        case TransportKind.LAB:
            fleet, transport = _lab(project, fleet, selection)
        case TransportKind.MANIFEST:
            fleet, transport = _as_manifest_says(project, fleet, selection)
    return Session(project, fleet, selection, transport)


def _looked_at(manifest: Path) -> Fleet:
    from fleetctl.manifest.looking import load_to_look

    return load_to_look(manifest)


def _read(manifest: Path) -> Fleet:
    from fleetctl.manifest.loader import load

    return load(manifest)


def examining(transport: Transport) -> Examines:
    """`transport`, if it can examine boards.

    Raises:
        UsageError: it cannot.
    """
    if not isinstance(transport, Examines):
        hint = "`fleetctl status` asks them"
        raise UsageError(f"boards cannot be examined over {transport.name}", hint=hint)
    return transport


def _fake(project: Project, fleet: Fleet, faults: Path | None) -> Transport:
    from fleetctl.transports.fake import FakeTransport
    from fleetctl.transports.faults import Faults

    found = Faults.load(faults, fleet.boards) if faults else Faults()
    return FakeTransport(project.state / "fake", found)


def _lab(project: Project, fleet: Fleet, selection: Selection) -> tuple[Fleet, Transport]:
    from fleetctl.lab import overlay

    twins = overlay.overlay(fleet, project, selection.boards)
    transport = _ansible(known_hosts=overlay.known_hosts(project), identity=overlay.identity(project))
    return twins, transport


def _as_manifest_says(project: Project, fleet: Fleet, selection: Selection) -> tuple[Fleet, Transport]:
    """Each board by its `via`; SDKs of ways that no selected board needs are not even looked for."""
    boards = [fleet.boards[name] for name in selection.boards]
    over_hub = [board for board in boards if board.via is Via.IOTHUB]
    ansible = _ansible(known_hosts=project.known_hosts, identity=None)
    if not over_hub:
        return fleet, ansible
    from fleetctl.cli.over_iothub import open_transport, settings
    from fleetctl.images.module_board import in_modules
    from fleetctl.transports.routed import RoutedTransport

    fleet = replace(fleet, iothub=settings(fleet.iothub, os.environ))
    hub = open_transport(project, fleet.iothub, os.environ)
    if len(over_hub) == len(boards):
        return in_modules(fleet), hub
    return in_modules(fleet), RoutedTransport({Via.ANSIBLE: ansible, Via.IOTHUB: hub})


def over_ssh(session: Session, kind: TransportKind, why_not: str) -> "AnsibleTransport":
    """What a verb works with that simulated boards and those behind a hub do not have.

    Raises:
        UsageError: such boards are selected; `why_not` completes the sentence about simulated ones.
    """
    if kind is TransportKind.MANIFEST:
        refuse_without_ssh(session.boards)
    from fleetctl.transports.ansible import AnsibleTransport

    if not isinstance(session.transport, AnsibleTransport):
        raise UsageError(f"{kind.value} boards {why_not}", hint="use --transport lab")
    return session.transport


def refuse_without_ssh(boards: Sequence[Board]) -> None:
    """Raise `UsageError` for boards that no ssh leads to."""
    over_hub = [board.name for board in boards if board.via is Via.IOTHUB]
    if over_hub:
        raise UsageError(
            f"no ssh leads to boards via iothub: {', '.join(over_hub[:5])}",
            hint=f"leave them out with --on '{','.join('!' + name for name in over_hub[:5])}'",
        )


def _ansible(*, known_hosts: Path, identity: Path | None) -> Transport:
    from fleetctl.transports.ansible import AnsibleTransport
    from fleetctl.transports.ssh import SshReader

    reader = SshReader(known_hosts, identity)
    return AnsibleTransport(reader, known_hosts, identity)
