"""What every verb that talks to boards starts from: the fleet, the boards, a way to reach them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleetctl.cli.options import TransportKind
from fleetctl.errors import UsageError
from fleetctl.manifest.schema import Board, Fleet, Via
from fleetctl.observation import Observed
from fleetctl.project import Project
from fleetctl.rollout import observe
from fleetctl.selector import Selection, select
from fleetctl.transports.base import Examines, Transport

# Reading should not wait for a whole release's deadline.
READ_DEADLINE = 30.0


@dataclass(frozen=True, slots=True)
class Session:
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


def open_session(file: Path, on: str, kind: TransportKind, faults: Path | None = None) -> Session:
    """Load the manifest, select boards, and make the transport that `kind` names.

    Raises:
        ManifestError, UsageError: the manifest, the selection, or the lab is not as it must be.
    """
    from fleetctl.manifest.loader import load

    if faults is not None and kind is not TransportKind.FAKE:
        raise UsageError("--faults needs --transport fake", hint="real and virtual boards bring their own")
    fleet = load(file)
    project = Project(file)
    selection = select(fleet, on)
    match kind:
        case TransportKind.FAKE:
            transport = _fake(project, faults)
        case TransportKind.LAB:
            fleet, transport = _lab(project, fleet, selection)
        case TransportKind.MANIFEST:
            _refuse_unreachable_kinds([fleet.boards[name] for name in selection.boards])
            transport = _ansible(known_hosts=project.known_hosts, identity=None)
    return Session(project, fleet, selection, transport)


def examining(transport: Transport) -> Examines:
    """`transport`, if it can examine boards.

    Raises:
        UsageError: it cannot.
    """
    if not isinstance(transport, Examines):
        hint = "`fleetctl status` asks them"
        raise UsageError(f"boards cannot be examined over {transport.name}", hint=hint)
    return transport


def _fake(project: Project, faults: Path | None) -> Transport:
    from fleetctl.transports.fake import FakeTransport
    from fleetctl.transports.faults import Faults

    return FakeTransport(project.state / "fake", Faults.load(faults) if faults else Faults())


def _lab(project: Project, fleet: Fleet, selection: Selection) -> tuple[Fleet, Transport]:
    from fleetctl.lab import overlay

    twins = overlay.overlay(fleet, project, selection.boards)
    transport = _ansible(known_hosts=overlay.known_hosts(project), identity=overlay.identity(project))
    return twins, transport


def _ansible(*, known_hosts: Path, identity: Path | None) -> Transport:
    from fleetctl.transports.ansible import AnsibleTransport
    from fleetctl.transports.ssh import SshReader

    reader = SshReader(known_hosts, identity)
    return AnsibleTransport(reader, known_hosts, identity)


def _refuse_unreachable_kinds(boards: list[Board]) -> None:
    over_iothub = [board.name for board in boards if board.via is Via.IOTHUB]
    if over_iothub:
        raise UsageError(
            f"boards via iothub cannot be reached by this version: {', '.join(over_iothub[:5])}",
            hint=f"leave them out with --on '{','.join('!' + name for name in over_iothub[:5])}'",
        )
