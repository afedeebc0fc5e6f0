"""A hub on loopback for tests, and the official SDKs as its clients."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from azure.iot.device import IoTHubDeviceClient, IoTHubModuleClient, MethodResponse
from azure.iot.hub import IoTHubConfigurationManager, IoTHubRegistryManager
from azure.iot.hub.models import Configuration, ConfigurationContent, Device, DeviceCapabilities
from msgspec.structs import replace

from fleetctl.lab.iothub.agent import Place
from fleetctl.lab.iothub.emulator import Emulator, Settings, running

PATIENCE = 30.0  # seconds


def own_address() -> str:
    """A loopback address of this process's own: devices know one port, so two hubs need two addresses."""
    if sys.platform != "linux":
        return "127.0.0.1"  # elsewhere there is only this one
    pid = os.getpid()
    return f"127.{64 + (pid >> 16) % 64}.{(pid >> 8) % 256}.{pid % 254 + 1}"


def settings(folder: Path, **changes: Any) -> Settings:
    """A hub of generous limits that looks at conditions at once."""
    address = own_address()
    return replace(
        Settings(folder, host=address, address=address, tier="S3", units=10, evaluation=0.05), **changes
    )


class Clients:
    """The SDKs, pointed at one hub."""

    def __init__(self, hub: Emulator) -> None:
        self.hub = hub
        self.ca = hub.authority.root.certificate.read_text()
        self.registry = IoTHubRegistryManager.from_connection_string(hub.connection_string)
        self.deployments = IoTHubConfigurationManager.from_connection_string(hub.connection_string)
        self._devices: list[Any] = []
        self._open: list[Any] = [self.registry.protocol, self.deployments.protocol]

    def edge_device(self, name: str) -> Device:
        wish = Device(device_id=name, status="enabled", capabilities=DeviceCapabilities(iot_edge=True))
        return self.registry.protocol.devices.create_or_update_identity(name, wish)

    def device(self, name: str, key: str, **options: Any) -> IoTHubDeviceClient:
        text = f"HostName={self.hub.settings.host};DeviceId={name};SharedAccessKey={key}"
        return self.keep(IoTHubDeviceClient.create_from_connection_string(text, **self._trust, **options))

    def module(self, device: str, name: str) -> IoTHubModuleClient:
        key = self.registry.get_module(device, name).authentication.symmetric_key.primary_key
        text = f"HostName={self.hub.settings.host};DeviceId={device};ModuleId={name};SharedAccessKey={key}"
        return self.keep(IoTHubModuleClient.create_from_connection_string(text, **self._trust))

    def keep(self, client: Any) -> Any:
        """End the client with the test."""
        self._devices.append(client)
        return client

    def keep_open(self, client: Any) -> None:
        """Close the client with the others."""
        self._open.append(client)

    @property
    def _trust(self) -> dict[str, Any]:
        return {"server_verification_cert": self.ca}

    def close(self) -> None:
        for client in self._devices:
            client.shutdown()
        for client in self._open:
            client.close()


@contextlib.contextmanager
def hub_with_clients(given: Settings) -> Iterator[Clients]:
    """A hub and its clients for as long as the block lasts."""
    with running(given) as hub, _trusting(hub.authority.root.certificate):
        clients = Clients(hub)
        try:
            yield clients
        finally:
            clients.close()


@contextlib.contextmanager
def _trusting(certificate: Path) -> Iterator[None]:
    before = os.environ.get("REQUESTS_CA_BUNDLE")
    os.environ["REQUESTS_CA_BUNDLE"] = str(certificate)
    try:
        yield
    finally:
        if before is None:
            del os.environ["REQUESTS_CA_BUNDLE"]
        else:
            os.environ["REQUESTS_CA_BUNDLE"] = before


def agent_place(clients: Clients, device: str) -> Place:
    """What the agent of a registered device needs to know."""
    hub = clients.hub

    def key_of(module: str) -> str:
        return str(clients.registry.get_module(device, module).authentication.symmetric_key.primary_key)

    return Place(device, hub.settings.host, hub.authority.root.certificate, key_of)


def deployment(
    name: str, *, priority: int = 10, condition: str = "*", image: str = "reader"
) -> Configuration:
    """An automatic deployment of one module, `reader`."""
    agent = {"schemaVersion": "1.1", "modules": {"reader": {"settings": {"image": image}}}}
    content = {
        "$edgeAgent": {"properties.desired": agent},
        "reader": {"properties.desired": {"release": image}},
    }
    return Configuration(
        id=name,
        priority=priority,
        target_condition=condition,
        content=ConfigurationContent(modules_content=content),
    )


def eventually(happens: Callable[[], Any]) -> Any:
    """What `happens` gives, as soon as it gives something true."""
    give_up = time.monotonic() + PATIENCE
    while not (found := happens()):
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.02)
    return found


def answering(client: Any, status: int = 200) -> None:
    """Have a client answer every direct method with what it was sent."""

    def answer(request: Any) -> None:
        said = {"name": request.name, "payload": request.payload}
        client.send_method_response(MethodResponse.create_from_method_request(request, status, said))

    client.on_method_request_received = answer
