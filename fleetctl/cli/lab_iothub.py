"""`fleetctl lab iothub`: the IoT Hub of the lab, and what can be done to it."""

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetctl.cli.group import Verbs
from fleetctl.cli.options import DEFAULT_MANIFEST, FileOption, Output, OutputOption, finite
from fleetctl.cli.result import show
from fleetctl.project import Project

if TYPE_CHECKING:
    from fleetctl.lab.iothub.files import HubFiles
    from fleetctl.manifest.schema import Fleet

app = typer.Typer(
    cls=Verbs,
    help="The lab's IoT Hub: look at it, and have it misbehave.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


class Tier(StrEnum):
    """Whose limits a hub has."""

    F1 = "F1"
    S1 = "S1"
    S2 = "S2"
    S3 = "S3"


def up(file: Path, address: str, tier: Tier, units: int) -> None:
    """Start the hub beside the lab's boards."""
    from fleetctl.lab import control
    from fleetctl.lab.iothub.files import WantedHub
    from fleetctl.lab.state import LabFiles
    from fleetctl.report.console import talk

    lab = LabFiles.of(Project(file))
    running, was_running = control.up_hub(lab, WantedHub(address, tier.value, units))
    files = _files(file)
    talk.done(
        f"the hub {'is up already' if was_running else 'is up'}: {running.host}, MQTT on {running.mqtt_port}"
    )
    talk.note(f"its connection string is in {files.access}; its CA is {files.certificate}")


def edge_boards(fleet: "Fleet", names: Sequence[str]) -> list[str]:
    """Of these boards, those that are to be edge devices of the hub.

    Raises:
        UsageError: two of them would listen on one port.
    """
    from fleetctl.lab.iothub.edge_boards import demand_own_ports
    from fleetctl.manifest.schema import Via

    boards = [fleet.boards[name] for name in names if fleet.boards[name].via is Via.IOTHUB]
    demand_own_ports({board.name: board.serve_port for board in boards})
    return [board.name for board in boards]


def up_boards(file: Path, names: Sequence[str]) -> None:
    """Start the edge agents of boards of the hub."""
    from fleetctl.lab import control
    from fleetctl.lab.state import LabFiles
    from fleetctl.report.console import talk

    new = control.up_edge(LabFiles.of(Project(file)), names)
    boards = "1 board has" if len(names) == 1 else f"{len(names)} boards have"
    talk.done(f"{boards} an edge agent that follows the hub ({len(new)} new)")
    talk.note('tell this shell of the hub: eval "$(fleetctl lab iothub env)"')


@app.command()
def env(file: FileOption = DEFAULT_MANIFEST) -> None:
    """Print what a shell has to be told to work with the hub.

    The key is not printed: the shell reads it from its file.
    """
    from fleetctl.lab.iothub import control
    from fleetctl.report.console import emit_text

    emit_text(control.shell_lines(_files(file), os.environ))


@app.command()
def status(file: FileOption = DEFAULT_MANIFEST, output: OutputOption = Output.TABLE) -> None:
    """Say where the hub is, what calls it has had, and how it is told to misbehave.

    Exits 1 when there is none.
    """
    from msgspec.structs import asdict

    from fleetctl.lab.iothub import control
    from fleetctl.report.console import talk

    files = _files(file)
    running = control.status(files)
    data: dict[str, Any] = {"up": running is not None}
    if running is not None:
        paths = {"certificate": str(files.certificate), "connection_string": str(files.access)}
        counts, faults = control.call(files, "GET", "counts"), control.call(files, "GET", "faults")
        data |= {**asdict(running), "files": paths, **counts, "faults": faults}
    show(
        output,
        schema="fleetctl.lab-iothub/v1",
        data=data,
        columns=["what", "is"],
        rows=_rows(data),
    )
    if running is None:
        talk.warn("the lab has no hub: start one with `fleetctl lab up --iothub`")
        raise typer.Exit(1)


@app.command()
def fault(
    file: FileOption = DEFAULT_MANIFEST,
    throttle: Annotated[int, typer.Option(min=0, help="Answer so many calls with 429.")] = 0,
    drop: Annotated[int, typer.Option(min=0, help="Cut so many calls off unheard.")] = 0,
    drop_after: Annotated[int, typer.Option(min=0, help="Carry out so many calls, and cut them off.")] = 0,
    errors: Annotated[int, typer.Option(min=0, help="Answer so many calls with 500.")] = 0,
    conflicts: Annotated[int, typer.Option(min=0, help="Let so many conditional writes come too late.")] = 0,
    slow: Annotated[
        float, typer.Option(min=0, callback=finite, help="Seconds that every call takes longer.")
    ] = 0.0,
) -> None:
    """Have the hub misbehave: each number is of calls to come; without any, it behaves again."""
    from fleetctl.lab.iothub import control
    from fleetctl.report.console import talk

    faults = {
        "throttle": throttle,
        "drop": drop,
        "drop_after": drop_after,
        "errors": errors,
        "conflicts": conflicts,
        "slow": slow,
    }
    control.call(_files(file), "PUT", "faults", faults)
    told = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in faults.items() if value)
    talk.done(f"the hub will misbehave: {told}" if told else "the hub behaves")


@app.command()
def clock(
    ahead: Annotated[
        float,
        typer.Argument(
            metavar="AHEAD",
            callback=finite,
            help="Seconds that the hub's clock goes ahead; negative: behind.",
        ),
    ],
    file: FileOption = DEFAULT_MANIFEST,
) -> None:
    """Set the hub's clock against this machine's."""
    from fleetctl.lab.iothub import control
    from fleetctl.report.console import talk

    control.call(_files(file), "PUT", "clock", {"ahead": ahead})
    talk.done(f"the hub's clock goes {ahead:+g} s")


@app.command()
def certificate(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="Name of a device.")],
    file: FileOption = DEFAULT_MANIFEST,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a certificate with which a device can sign in, signed by the hub's CA."""
    from fleetctl.lab.iothub import control
    from fleetctl.lab.iothub.authority import der, thumbprint

    made = control.certificate(_files(file), device)
    data = {
        "device": device,
        "certificate": str(made.certificate),
        "key": str(made.key),
        "thumbprint": thumbprint(der(made.certificate)),
    }
    show(
        output,
        schema="fleetctl.lab-iothub-certificate/v1",
        data=data,
        columns=["what", "is"],
        rows=[[name, value] for name, value in data.items()],
    )


def _rows(data: dict[str, Any]) -> list[list[str]]:
    """Nested values under dotted names."""
    rows: list[list[str]] = []
    for name, value in data.items():
        if isinstance(value, dict):
            rows += [[f"{name}: {inner}", text] for inner, text in _rows(value)]
        else:
            rows.append([name, f"{value:g}" if isinstance(value, float) else str(value)])
    return rows


def _files(file: Path) -> "HubFiles":
    from fleetctl.lab.iothub.files import HubFiles
    from fleetctl.lab.state import LabFiles

    return HubFiles.of(LabFiles.of(Project(file)))
