"""Boards that are reached through a hub: real board software, as modules that a small agent runs."""

import contextlib
import gc
import itertools
import os
import secrets
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import certifi
from contract_worlds import Releases, by_board, interrupt_once
from iothub_hub import Clients, agent_place, eventually, hub_with_clients, settings
from msrest.exceptions import HttpOperationError

from fleetctl.lab import processes
from fleetctl.lab.iothub.agent import Agent
from fleetctl.lab.iothub.runners import ProcessRunner
from fleetctl.lab.ports import free_ports
from fleetctl.manifest.schema import Board, BoardKind, ServiceManager, VariantName, Via
from fleetctl.transports.base import Order, Reply, Transport
from fleetctl.transports.iothub import IotHubTransport, Pace
from fleetctl.transports.iothub_client import HubClient
from fleetctl.transports.iothub_images import FolderImages
from fleetctl.transports.iothub_signin import SignIn

QUICK = Pace(poll=0.1, fetch=60.0)
AZURE = Pace(poll=5.0, fetch=900.0)  # a real hub looks at conditions within minutes


def transport_to(clients: Clients, folder: Path, pace: Pace = QUICK) -> IotHubTransport:
    """The transport, signed in to the clients' hub."""
    hub = clients.hub
    most = 0.2 if pace is QUICK else float("inf")
    client = HubClient(
        SignIn(hub.service_host, hub.connection_string), sleep=lambda s: time.sleep(min(s, most))
    )
    clients.keep_open(client)
    return IotHubTransport(client, FolderImages(folder / "images"), pace=pace)


class IotHubWorld:
    """Boards behind a hub on loopback, and agents that follow it."""

    def __init__(self, folder: Path, clients: Clients, pace: Pace = QUICK, prefix: str = "edge") -> None:
        self.folder = folder
        self.clients = clients
        self.prefix = prefix
        self.stack = ExitStack()
        self.iothub = transport_to(clients, folder, pace)
        self.transport: Transport = self.iothub
        self.agents: dict[str, Agent] = {}
        self._ports = free_ports(folder, ())
        self._numbers = itertools.count(1)

    def boards(self, count: int) -> list[Board]:
        return [self._new_board(f"{self.prefix}-{next(self._numbers):02d}") for _ in range(count)]

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
        self.stack.callback(runner.stop)  # whatever becomes of its agent
        agent = Agent(agent_place(self.clients, name), runner)
        agent.start()
        self.agents[name] = agent

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
        with warnings.catch_warnings():
            # A call to the hub that Ctrl-C cuts short leaves its socket to the garbage collector.
            warnings.simplefilter("ignore", ResourceWarning)
            with interrupt_once(begun.exists):
                list(self.transport.release([order]))
            gc.collect()

    def pass_time(self, seconds: float) -> None:
        time.sleep(seconds)

    def close(self) -> None:
        with self.stack:  # which ends every module, also where an agent fails to
            for agent in self.agents.values():
                agent.stop()


def iothub_world(folder: Path) -> Iterator[IotHubWorld]:
    """A world of its own for one test."""
    with hub_with_clients(settings(folder / "hub", keeps=False)) as clients:
        world = IotHubWorld(folder, clients)
        try:
            yield world
        finally:
            world.close()
            assert not [each for each in threading.enumerate() if each.name.startswith("agent ")]
            assert not processes.running(list((folder / "boards").glob("*")))


class AzureWorld(IotHubWorld):
    """The same with a hub that is Azure's, or whatever else the connection string leads to.

    Its devices have names of their own, and are gone afterwards.
    """

    def _new_board(self, name: str) -> Board:
        self.stack.callback(self._forget, name)
        return super()._new_board(name)

    def _forget(self, name: str) -> None:
        with contextlib.suppress(HttpOperationError):  # it is gone already
            self.clients.registry.delete_device(name)

    def distrust(self, board: Board) -> Any:
        return _Meanwhile(self, board, lambda: None)

    def mistrust(self, board: Board) -> Any:
        register = self.clients.registry.create_device_with_sas
        return _Meanwhile(self, board, lambda: register(board.name, "", "", "enabled"))


class _Meanwhile:
    """The transport, at a time when the board's device is gone and `instead` was done."""

    def __init__(self, world: AzureWorld, board: Board, instead: Callable[[], object]) -> None:
        self._world, self._board, self._instead = world, board, instead

    def release(self, orders: Sequence[Order]) -> list[Reply]:
        world, board = self._world, self._board
        world.cut_power(board)
        world._forget(board.name)
        self._instead()
        replies = list(world.transport.release(orders))
        world._forget(board.name)
        world.clients.edge_device(board.name)
        root = Path(board.root)
        world.start_agent(board.name, ProcessRunner(root.parents[1], root))
        eventually(lambda: by_board(world.transport.observe([board], deadline=30))[board.name].ok)
        return replies


def azure_world(folder: Path, connection_string: str) -> Iterator[AzureWorld]:
    """A world in the hub that the connection string leads to; Microsoft's own CA is trusted by everybody."""
    host = SignIn(connection_string.split("HostName=")[1].partition(";")[0], connection_string).host
    trust = Path(os.environ.get("REQUESTS_CA_BUNDLE") or certifi.where())
    hub = SimpleNamespace(
        connection_string=connection_string,
        service_host=host,
        settings=SimpleNamespace(host=host.partition(":")[0]),
        authority=SimpleNamespace(root=SimpleNamespace(certificate=trust)),
    )
    clients = Clients(hub)  # type: ignore[arg-type]
    world = AzureWorld(folder, clients, AZURE, f"fleetctl-test-{secrets.token_hex(4)}")
    before = ours(world).keys()
    try:
        yield world
    finally:
        world.close()
        for name in ours(world).keys() - before:  # what is new would not be collected
            clients.deployments.delete_configuration(name)
        clients.close()


def tags(world: IotHubWorld, board: str) -> Any:
    """What fleetctl keeps of a board at the hub, or None."""
    return (world.clients.registry.get_twin(board).tags or {}).get("fleetctl")


def ours(world: IotHubWorld) -> dict[str, int]:
    """The deployments of the hub, and their priorities."""
    return {each.id: each.priority for each in world.clients.deployments.get_configurations(100)}
