"""Boards of the lab's hub: registered in it, each with a small edge agent that runs its module."""

import importlib.util
import json
import time
from collections.abc import Collection, Mapping
from hashlib import sha256
from urllib.parse import quote

from fleetctl.errors import FleetError, ToolchainMissing, UsageError
from fleetctl.lab import detached
from fleetctl.lab.iothub.control import ask, require
from fleetctl.lab.iothub.docker_runner import DockerRunner
from fleetctl.lab.iothub.files import HubFiles
from fleetctl.lab.iothub.identities import EDGE_AGENT
from fleetctl.store import atomic_write

SCHEMA = "fleetctl.lab-edge-boards/v1"
_API = "api-version=2021-04-12"
_CONNECT_PATIENCE = 60.0  # seconds
_POLL = 0.2

Boards = Mapping[str, bool]  # whether each has power


def up(files: HubFiles, names: Collection[str]) -> list[str]:
    """Have these boards beside those there are, with power and connected; says which are new.

    Raises:
        ToolchainMissing: the SDK for devices, or an engine, is not here.
        FleetError: an agent does not connect; says where to look.
    """
    from fleetctl.lab.docker.engine import engine

    if importlib.util.find_spec("azure.iot.device") is None:
        raise ToolchainMissing(
            "edge agents need azure-iot-device, which is not installed", hint="pip install 'fleetctl[lab]'"
        )
    with engine():
        before = read(files)
    for name in names:
        device = {"deviceId": name, "status": "enabled", "capabilities": {"iotEdge": True}}
        if name not in before:
            ask(files, "PUT", f"devices/{quote(name)}?{_API}", device)
    write(files, {**before, **dict.fromkeys(names, True)})
    if detached.owner(files.boards_daemon) is None:
        detached.start("fleetctl.lab.iothub.edge_daemon", str(files.folder), files.boards_log, "edge agents")
    _wait(files, names)
    return [name for name in names if name not in before]


def switch(files: HubFiles, names: Collection[str], *, online: bool) -> None:
    """Cut the power of boards, or give it back."""
    write(files, {**read(files), **dict.fromkeys(names, online)})
    if online:
        _wait(files, names)
        return
    give_up = time.monotonic() + _CONNECT_PATIENCE
    while any(is_connected(files, name) for name in names) and time.monotonic() < give_up:
        time.sleep(_POLL)


def down(files: HubFiles, *, keep: bool) -> int:
    """End every agent and its module; forget the boards unless `keep`. Says how many there were."""
    from fleetctl.lab.docker.engine import engine

    boards = read(files)
    detached.end(files.boards_daemon, "edge agents")
    if not boards:
        return 0
    with engine() as client:
        for name in boards:
            runner = runner_of(client, files, name)
            runner.stop() if keep else runner.remove()
    if not keep:
        files.boards.unlink(missing_ok=True)
    return len(boards)


def runner_of(client: object, files: HubFiles, name: str) -> DockerRunner:
    """What runs a board's module; another lab's boards of that name are not touched."""
    lab = sha256(str(files.folder).encode()).hexdigest()[:12]
    return DockerRunner(client, f"{lab}-{name}")


def read(files: HubFiles) -> Boards:
    """Which boards there are.

    Raises:
        FleetError: the record is not one that this version wrote.
    """
    try:
        record = json.loads(files.boards.read_bytes())
        if record["schema"] != SCHEMA:
            raise ValueError(f"its schema is not {SCHEMA}")
        return {str(name): bool(online) for name, online in record["boards"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise FleetError(
            f"{files.boards} is not of this version ({error})", hint="start over with `fleetctl lab down`"
        ) from error


def write(files: HubFiles, boards: Boards) -> None:
    atomic_write(files.boards, json.dumps({"schema": SCHEMA, "boards": dict(boards)}) + "\n")


def key_of(files: HubFiles, device: str, module: str) -> str:
    """The key that a module of a board signs in with."""
    found = ask(files, "GET", f"devices/{quote(device)}/modules/{quote(module)}?{_API}")
    return str(found["authentication"]["symmetricKey"]["primaryKey"])


def is_connected(files: HubFiles, name: str) -> bool:
    """Whether the board's agent is connected to the hub, which is seen by its answer alone."""
    require(files)
    path = f"twins/{quote(name)}/modules/{quote(EDGE_AGENT)}/methods?{_API}"
    try:
        ask(files, "POST", path, {"methodName": "ping", "responseTimeoutInSeconds": 5})
    except UsageError:
        return False
    return True


def demand_own_ports(ports: Mapping[str, int]) -> None:
    """Raise `UsageError` for boards that would listen on the same port: they share this machine's network."""
    taken: dict[int, str] = {}
    for name, port in ports.items():
        if other := taken.get(port):
            raise UsageError(
                f"{other} and {name} would both listen on port {port}, "
                "and boards of the lab's hub share this machine's network",
                hint=f"give each a `serve_port` of its own in the manifest, or start fewer with --on {other}",
            )
        taken[port] = name


def _wait(files: HubFiles, names: Collection[str]) -> None:
    give_up = time.monotonic() + _CONNECT_PATIENCE
    while silent := [name for name in names if not is_connected(files, name)]:
        if detached.owner(files.boards_daemon) is None:
            raise FleetError(
                f"the edge agents have ended: {detached.last_line(files.boards_log)}",
                hint=f"see {files.boards_log}",
            )
        if time.monotonic() > give_up:
            raise FleetError(
                f"the edge agent of {silent[0]} does not connect to the hub", hint=f"see {files.boards_log}"
            )
        time.sleep(_POLL)
