"""`fleetctl lab`: virtual boards on this machine."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetctl.cli import lab_iothub
from fleetctl.cli.group import Verb, Verbs
from fleetctl.cli.lab_iothub import Tier
from fleetctl.cli.options import DEFAULT_MANIFEST, FileOption, OnOption, Output, OutputOption
from fleetctl.cli.result import show
from fleetctl.lab.control import Driver
from fleetctl.project import Project

if TYPE_CHECKING:
    from fleetctl.lab.state import LabFiles, LabState, Wanted
    from fleetctl.manifest.schema import Fleet

app = typer.Typer(
    cls=Verbs,
    help="Start and stop virtual boards on this machine.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)
app.add_typer(lab_iothub.app, name="iothub")

BoardsArgument = Annotated[list[str], typer.Argument(metavar="BOARD...", help="Names of virtual boards.")]
DriverOption = Annotated[Driver, typer.Option("--driver", help="What virtual boards are made of.")]
CountOption = Annotated[
    int | None, typer.Option("--boards", min=1, help="Only the first of the selected boards.")
]
ArchitectureOption = Annotated[
    str,
    typer.Option("--arch", help="Processors of docker boards, in turn: amd64, arm64, or both with a comma."),
]
HubOption = Annotated[bool, typer.Option("--iothub", help="Start an Azure IoT Hub on loopback, too.")]
HubAddressOption = Annotated[
    str, typer.Option("--iothub-address", help="The loopback address that the hub listens on.")
]
HubTierOption = Annotated[Tier, typer.Option("--iothub-tier", help="Whose limits the hub has.")]
HubUnitsOption = Annotated[int, typer.Option("--iothub-units", min=1, help="How many units it has.")]
KeepOption = Annotated[
    bool, typer.Option("--keep", help="Keep the boards' folders and ports for the next `lab up`.")
]


@app.command(cls=Verb)
def up(
    file: FileOption = DEFAULT_MANIFEST,
    on: OnOption = "",
    boards: CountOption = None,
    driver: DriverOption = Driver.PROCESS,
    arch: ArchitectureOption = "",
    iothub: HubOption = False,
    iothub_address: HubAddressOption = "127.0.0.1",
    iothub_tier: HubTierOption = Tier.S1,
    iothub_units: HubUnitsOption = 1,
) -> None:
    """Start a virtual board for each board of the manifest.

    Process boards are ssh servers that run commands as you do. Docker boards are Debian with systemd; a
    processor that this machine does not have is emulated. With --iothub, docker boards via iothub are edge
    devices of the hub: their agents run modules as containers.
    """
    from fleetctl.lab import control
    from fleetctl.manifest.loader import load
    from fleetctl.report.console import talk
    from fleetctl.selector import select

    fleet = load(file)
    names = select(fleet, on).boards[:boards]
    edge = lab_iothub.edge_boards(fleet, names) if iothub and driver is Driver.DOCKER else []
    if over_ssh := [name for name in names if name not in edge]:
        lab = control.up(_files(file), _wanted(fleet, over_ssh, driver, arch), driver, talk.step)
        if lab.was_running and not lab.added:
            talk.done(f"the lab is up already, with {_count(len(lab.state.boards))}")
        else:
            talk.done(f"the lab is up, with {_count(len(lab.state.boards))} ({len(lab.added)} new)")
        if off := [name for name, board in lab.state.boards.items() if not board.online]:
            talk.warn(f"without power: {', '.join(off)}; give it back with `fleetctl lab start`")
        talk.note("use it with `--transport lab`, or FLEETCTL_TRANSPORT=lab for every verb")
    if iothub:
        lab_iothub.up(file, iothub_address, iothub_tier, iothub_units)
    if edge:
        lab_iothub.up_boards(file, edge)


@app.command()
def down(file: FileOption = DEFAULT_MANIFEST, keep: KeepOption = False) -> None:
    """Stop all virtual boards and what runs on them, and remove them.

    Refused while a rollout is under way in this folder: its boards would fall silent one after the other.
    """
    from fleetctl.lab import control
    from fleetctl.report.console import talk
    from fleetctl.store import Lock

    files = _files(file)
    at_work = Lock(Project(file).state / "lock", "`fleetctl lab down`")
    with at_work if files.folder.is_dir() else nullcontext():  # else no lock is left where nothing was
        ended = control.down(files, keep=keep)
    if ended:
        talk.done(f"the lab is down; {_count(ended)} {'kept' if keep else 'removed'}")
    else:
        talk.done("there is no lab")


@app.command()
def status(file: FileOption = DEFAULT_MANIFEST, output: OutputOption = Output.TABLE) -> None:
    """List the virtual boards.

    Exits 1 when the lab is not up or a board is off.
    """
    from fleetctl.lab import control
    from fleetctl.report.console import talk

    files = _files(file)
    state, edge = control.status(files), control.edge(files)
    show(
        output,
        schema="fleetctl.lab-status/v1",
        data={**_status_json(files, state), **({"edge_boards": dict(edge)} if edge else {})},
        columns=["board", "state", "address", "user", "serve port", "root"],
        rows=[*_status_rows(state), *_edge_rows(edge)],
    )
    if state is None and edge:
        pass
    elif state is None:
        talk.warn("the lab is not up: start it with `fleetctl lab up`")
    elif first := next(iter(state.boards), None):
        talk.note(f"log in to {first}: {control.ssh_command(files, state.boards[first])}")
    power = (
        [*(board.online for board in state.boards.values()), *edge.values()] if state else [*edge.values()]
    )
    if not power or not all(power):
        raise typer.Exit(1)


@app.command()
def stop(boards: BoardsArgument, file: FileOption = DEFAULT_MANIFEST) -> None:
    """Cut the power of virtual boards.

    Nobody answers any more, every process is killed, files stay as they are.
    """
    _switch(file, boards, online=False)


@app.command()
def start(boards: BoardsArgument, file: FileOption = DEFAULT_MANIFEST) -> None:
    """Give virtual boards their power back.

    They boot, recover what the cut interrupted, and answer again.
    """
    _switch(file, boards, online=True)


@app.command()
def ssh(
    board: Annotated[str, typer.Argument(metavar="BOARD", help="Name of a virtual board.")],
    file: FileOption = DEFAULT_MANIFEST,
) -> None:
    """Print the ssh command that logs in to a virtual board."""
    from fleetctl.lab import control
    from fleetctl.report.console import emit_text

    files = _files(file)
    emit_text(control.ssh_command(files, control.member(control.require(files), board)))


def _wanted(fleet: "Fleet", names: Sequence[str], driver: Driver, arch: str) -> list["Wanted"]:
    from fleetctl.errors import UsageError
    from fleetctl.lab.state import Wanted

    if driver is Driver.PROCESS:
        if arch:
            raise UsageError("process boards have the processor of this machine", hint="use --driver docker")
        return [Wanted(name) for name in names]
    from fleetctl.lab.docker.images import ARCHITECTURES, own_architecture

    chosen = [word.strip() for word in arch.split(",")] if arch else [own_architecture()]
    if unknown := [word for word in chosen if word not in ARCHITECTURES]:
        raise UsageError(f"no boards of processor {unknown[0]!r}", hint=f"use {' or '.join(ARCHITECTURES)}")
    return [
        Wanted(name, fleet.boards[name].board.value, chosen[number % len(chosen)])
        for number, name in enumerate(names)
    ]


def _switch(file: FileOption, boards: Sequence[str], *, online: bool) -> None:
    from fleetctl.lab import control
    from fleetctl.report.console import talk

    control.switch(_files(file), boards, online=online)
    talk.done(f"{', '.join(boards)}: power {'on' if online else 'off'}")


def _files(file: FileOption) -> "LabFiles":
    from fleetctl.lab.state import LabFiles
    from fleetctl.manifest.files import demand_manifest

    files = LabFiles.of(Project(file))
    if not files.folder.is_dir():
        demand_manifest(file)
    return files


def _count(number: int) -> str:
    return f"{number} virtual board{'s' if number != 1 else ''}"


def _status_rows(state: "LabState | None") -> list[list[str]]:
    if state is None:
        return []
    return [
        [
            name,
            "on" if board.online else "off",
            f"{board.host}:{board.port}",
            board.user,
            str(board.serve_port),
            board.root,
        ]
        for name, board in state.boards.items()
    ]


def _edge_rows(edge: Mapping[str, bool]) -> list[list[str]]:
    return [[name, "on" if online else "off", "over the hub", "", "", ""] for name, online in edge.items()]


def _status_json(files: "LabFiles", state: "LabState | None") -> dict[str, Any]:
    from msgspec.structs import asdict

    from fleetctl.lab import control

    if state is None:
        return {"up": False, "boards": {}}
    boards = {
        name: {**asdict(board), "ssh": control.ssh_command(files, board)}
        for name, board in state.boards.items()
    }
    return {"up": True, "driver": state.driver, "pid": state.pid, "boards": boards}
