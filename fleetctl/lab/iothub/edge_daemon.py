"""The edge agents' daemon, `python -m fleetctl.lab.iothub.edge_daemon FOLDER`: until SIGTERM."""

import functools
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from fleetctl.errors import FleetError
from fleetctl.lab.detached import detach, is_at, lock
from fleetctl.lab.docker.engine import engine
from fleetctl.lab.iothub import edge_boards
from fleetctl.lab.iothub.agent import Agent, Place
from fleetctl.lab.iothub.control import require
from fleetctl.lab.iothub.files import HubFiles

_LOOK_EVERY = 0.5  # seconds
_AT_ONCE = 16


def run(files: HubFiles, held: IO[bytes], ending: threading.Event) -> None:
    """Keep an agent for each board that has power, as long as the lock file is ours."""
    agents: dict[str, Agent] = {}
    with engine() as client:
        try:
            while not ending.wait(_LOOK_EVERY) and is_at(held, files.boards_daemon):
                _bring(files, client, agents)
        finally:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(Agent.stop, agents.values()))


def _bring(files: HubFiles, client: Any, agents: dict[str, Agent]) -> None:
    """Start and end agents as the record has it; one that cannot be started is tried again."""
    wanted = {name for name, online in edge_boards.read(files).items() if online}
    for name in agents.keys() - wanted:
        agents.pop(name).stop()
    for name in sorted(wanted - agents.keys()):
        agent = Agent(_place(files, name), edge_boards.runner_of(client, files, name))
        try:
            agent.start()
        except Exception as error:  # noqa: BLE001 - of the SDK's many: the hub is away
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            continue
        agents[name] = agent


def _place(files: HubFiles, name: str) -> Place:
    key_of = functools.partial(edge_boards.key_of, files, name)
    return Place(name, require(files).address, files.certificate, key_of)


def main() -> None:
    """Return when the daemon is on its way, holding its lock."""
    files = HubFiles(Path(sys.argv[1]))
    with lock(files.boards_daemon) as held:
        detach(held)
        ending = threading.Event()
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, lambda *_: ending.set())
        try:
            run(files, held, ending)
        except (FleetError, OSError) as error:
            sys.exit(f"{error}")


if __name__ == "__main__":
    main()
