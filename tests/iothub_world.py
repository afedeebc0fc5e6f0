"""Boards that are reached through a hub: real board software, as modules that a small agent runs."""

import itertools
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from contract_worlds import Releases, interrupt_once
from iothub_hub import Clients, agent_place, hub_with_clients, settings

from fleetctl.lab.iothub.agent import Agent
from fleetctl.lab.iothub.runners import ProcessRunner
from fleetctl.lab.ports import free_ports
from fleetctl.manifest.schema import Board, BoardKind, ServiceManager, VariantName, Via
from fleetctl.transports.base import Order, Transport
from fleetctl.transports.iothub import IotHubTransport, Pace
from fleetctl.transports.iothub_client import HubClient
from fleetctl.transports.iothub_images import FolderImages
from fleetctl.transports.iothub_signin import SignIn

QUICK = Pace(poll=0.1, fetch=60.0)


def transport_to(clients: Clients, folder: Path) -> IotHubTransport:
    """The transport, signed in to the clients' hub."""
    hub = clients.hub
    client = HubClient(
        SignIn(hub.service_host, hub.connection_string), sleep=lambda s: time.sleep(min(s, 0.2))
    )
    clients.keep_open(client)
    return IotHubTransport(client, FolderImages(folder / "images"), pace=QUICK)


class IotHubWorld:
    """Boards behind a hub on loopback, and agents that follow it."""

    def __init__(self, folder: Path, clients: Clients) -> None:
        self.folder = folder
        self.clients = clients
        self.stack = ExitStack()
        self.iothub = transport_to(clients, folder)
        self.transport: Transport = self.iothub
        self.agents: dict[str, Agent] = {}
        self._ports = free_ports(folder, ())
        self._numbers = itertools.count(1)

    def boards(self, count: int) -> list[Board]:
        return [self._new_board(f"edge-{next(self._numbers):02d}") for _ in range(count)]

    def _new_board(self, name: str) -> Board:
        self.clients.edge_device(name)
        home = self.folder / "boards" / name
        root = home / "opt" / "fleetctl"
        self.start_agent(name, ProcessRunner(home, root))
        return Board(
            name=name,
            board=BoardKind.GENERIC,
            model="quadrants",
            variant=VariantName.INT8,
            via=Via.IOTHUB,
            python=sys.executable,
            root=str(root),
            service=ServiceManager.PROCESS,
            serve_port=next(self._ports),
        )

    def start_agent(self, name: str, runner: Any) -> None:
        self.agents[name] = Agent(agent_place(self.clients, name), runner)
        self.agents[name].start()

    def bad_order(self, releases: Releases, board: Board) -> Order:
        return releases.order(board, is_good=False)

    def cut_power(self, board: Board) -> None:
        self.agents.pop(board.name).stop()

    def distrust(self, board: Board) -> Transport:
        """A hub in which nobody registered the board."""
        del board
        return self._elsewhere()[0]

    def mistrust(self, board: Board) -> Transport:
        """A hub in which the board is registered without edge capability."""
        transport, clients = self._elsewhere()
        clients.registry.create_device_with_sas(board.name, "", "", "enabled")
        return transport

    def _elsewhere(self) -> tuple[IotHubTransport, Clients]:
        folder = self.folder / f"other-{next(self._numbers)}"
        shutil.copytree(self.folder / "hub" / "ca", folder / "ca")  # one CA, which is trusted already
        given = settings(folder, mqtt_port=0, keeps=False)
        clients = self.stack.enter_context(hub_with_clients(given))
        return transport_to(clients, folder), clients

    def interrupted(self, order: Order) -> None:
        begun = Path(order.board.root) / "state" / "pending.json"
        with interrupt_once(begun.exists):
            list(self.transport.release([order]))

    def pass_time(self, seconds: float) -> None:
        time.sleep(seconds)

    def close(self) -> None:
        for agent in self.agents.values():
            agent.stop()
        self.stack.close()


def iothub_world(folder: Path) -> Iterator[IotHubWorld]:
    """A world of its own for one test."""
    with hub_with_clients(settings(folder / "hub", keeps=False)) as clients:
        world = IotHubWorld(folder, clients)
        try:
            yield world
        finally:
            world.close()
            assert not [each for each in threading.enumerate() if each.name.startswith("agent ")]
