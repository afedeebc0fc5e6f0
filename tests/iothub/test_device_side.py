"""The hub's device side, with the unmodified azure-iot-device SDK as its client."""

import time
from pathlib import Path
from typing import Any

import pytest
from azure.iot.device import X509, IoTHubDeviceClient, Message
from azure.iot.device.exceptions import ClientError, CredentialError
from azure.iot.hub.models import (
    AuthenticationMechanism,
    CloudToDeviceMethod,
    Device,
    Twin,
    TwinProperties,
    X509Thumbprint,
)
from iothub_hub import Clients, answering, deployment, eventually, hub_with_clients, settings
from msrest.exceptions import HttpOperationError

from fleetctl.lab.iothub.authority import der, thumbprint

pytestmark = [
    pytest.mark.xdist_group("iothub"),
    pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLSv1_2 is deprecated"),  # the SDK's own choice
]


def connected(clients: Clients, **options: Any) -> Any:
    key = clients.edge_device("luxor-01").authentication.symmetric_key.primary_key
    client = clients.device("luxor-01", key, **options)
    client.connect()
    return client


def a_module(clients: Clients) -> Any:
    """The module `reader` of luxor-01, connected."""
    clients.edge_device("luxor-01")
    clients.deployments.create_configuration(deployment("r1", image="one"))
    eventually(lambda: len(clients.registry.get_modules("luxor-01")) == 3)
    module = clients.module("luxor-01", "reader")
    module.connect()
    return module


def call(clients: Clients, method: str, payload: Any = None, **patience: int) -> dict[str, Any]:
    wish = CloudToDeviceMethod(method_name=method, payload=payload, **patience)
    return dict(clients.registry.invoke_device_module_method("luxor-01", "reader", wish).as_dict())


def test_a_device_reads_and_reports(clients: Clients) -> None:
    """What a device reports stands in its twin; it reads what is desired, and nothing of its tags."""
    client = connected(clients)
    twin = Twin(tags={"site": "luxor"}, properties=TwinProperties(desired={"threshold": 0.5}))
    clients.registry.update_twin("luxor-01", twin, "*")
    client.patch_twin_reported_properties({"receipt": {"state": "confirmed"}, "old": 1})
    client.patch_twin_reported_properties({"old": None})

    assert {"desired", "reported"} == set(client.get_twin())
    assert 0.5 == client.get_twin()["desired"]["threshold"]
    found = clients.registry.get_twin("luxor-01")
    assert {"receipt", "$metadata", "$version"} == set(found.properties.reported)
    assert ("Connected", 3) == (found.connection_state, found.properties.reported["$version"])


def test_a_report_that_is_too_large_is_refused(clients: Clients) -> None:
    """A device that reports more than 32 KiB is told so, and its twin stays as it was."""
    client = connected(clients)
    client.patch_twin_reported_properties({"kept": 1})
    with pytest.raises(ClientError):
        client.patch_twin_reported_properties({f"k{n}": "x" * 4000 for n in range(9)})

    assert 1 == clients.registry.get_twin("luxor-01").properties.reported["kept"]
    assert client.connected


def test_desired_properties_arrive_as_patches(clients: Clients) -> None:
    """A connected device hears of what changed and of nothing else, with null for what is gone."""
    client = connected(clients)
    heard: list[dict[str, Any]] = []
    client.on_twin_desired_properties_patch_received = heard.append
    clients.registry.update_twin(
        "luxor-01", Twin(properties=TwinProperties(desired={"a": 1, "b": {"c": 2}})), "*"
    )
    eventually(lambda: len(heard) == 1)
    clients.registry.update_twin(
        "luxor-01", Twin(properties=TwinProperties(desired={"a": None, "b": {"d": 3}})), "*"
    )
    eventually(lambda: len(heard) == 2)

    assert [{"a": 1, "b": {"c": 2}, "$version": 2}, {"a": None, "b": {"d": 3}, "$version": 3}] == heard


def test_methods_are_answered(clients: Clients) -> None:
    """A direct method reaches the module with its payload, and its answer and status come back."""
    module = a_module(clients)
    answering(module, status=207)
    eventually(lambda: call(clients, "smoke", {"samples": [1, 2]})["status"] == 207)

    assert {"name": "revert", "payload": {}} == call(clients, "revert", {})["payload"]


def test_nobody_to_call_is_said(clients: Clients) -> None:
    """A method of a module that is not connected is 404, one that is not answered in time 504."""
    module = a_module(clients)
    module.on_method_request_received = lambda _: None
    time.sleep(0.2)  # until it has subscribed
    with pytest.raises(HttpOperationError) as error:
        call(clients, "smoke", response_timeout_in_seconds=1)
    assert 504 == error.value.response.status_code
    module.disconnect()
    eventually(
        lambda: clients.registry.get_module_twin("luxor-01", "reader").connection_state == "Disconnected"
    )
    with pytest.raises(HttpOperationError) as error:
        call(clients, "smoke")
    assert (404, "DeviceNotOnline") == (
        error.value.response.status_code,
        error.value.response.headers["iothub-errorcode"],
    )


def test_telemetry_is_heard(clients: Clients) -> None:
    """What a module sends arrives under its name."""
    module = a_module(clients)
    module.send_message(Message("G17"))

    (event,) = eventually(lambda: list(clients.hub.devices.events))
    assert ("luxor-01/reader", b"G17") == (event.client, event.payload)


def test_a_deployment_speaks_to_connected_modules(clients: Clients) -> None:
    """A module that is connected hears of the deployment that takes over."""
    module = a_module(clients)
    heard: list[dict[str, Any]] = []
    module.on_twin_desired_properties_patch_received = heard.append
    time.sleep(0.2)
    clients.deployments.create_configuration(deployment("r2", priority=20, image="two"))

    eventually(lambda: [each["release"] for each in heard] == ["two"])


def test_devices_sign_in_by_certificate(clients: Clients) -> None:
    """A certificate of the CA gets its own device in, a registered thumbprint its device, and no others."""
    registry, ca = clients.registry, clients.hub.authority
    registry.create_device_with_certificate_authority("by-ca", "enabled")
    mark = thumbprint(der(ca.device("any name").certificate))
    way = AuthenticationMechanism(
        type="selfSigned", x509_thumbprint=X509Thumbprint(primary_thumbprint=mark, secondary_thumbprint=None)
    )
    device = Device(device_id="by-print", status="enabled", authentication=way)
    registry.protocol.devices.create_or_update_identity("by-print", device)

    def client(device: str, certificate: str) -> Any:
        made = ca.device(certificate)
        return clients.keep(
            IoTHubDeviceClient.create_from_x509_certificate(
                X509(str(made.certificate), str(made.key)),
                clients.hub.settings.host,
                device,
                server_verification_cert=clients.ca,
            )
        )

    for name, certificate in (("by-ca", "by-ca"), ("by-print", "any name")):
        client(name, certificate).connect()
        assert "Connected" == registry.get_device(name).connection_state
    for name, certificate in (("by-ca", "any name"), ("by-print", "by-ca")):
        with pytest.raises(CredentialError):
            client(name, certificate).connect()


def test_strangers_stay_outside(clients: Clients) -> None:
    """Another key, a device that nobody registered, and one that is disabled do not get in."""
    key = clients.edge_device("luxor-01").authentication.symmetric_key.primary_key
    clients.registry.create_device_with_sas("off", key, key, "disabled")
    for name, its_key in (("luxor-01", "a2V5"), ("nobody", key), ("off", key)):
        with pytest.raises(CredentialError):
            clients.device(name, its_key).connect()


def test_a_device_that_is_disabled_is_cut_off(clients: Clients) -> None:
    """Whoever is connected when the registry disables it is connected no longer."""
    client = connected(clients, connection_retry=False)
    made = clients.registry.get_device("luxor-01")
    made.status = "disabled"
    clients.registry.protocol.devices.create_or_update_identity("luxor-01", made, f'"{made.etag}"')

    eventually(lambda: not client.connected)
    assert "Disconnected" == clients.registry.get_device("luxor-01").connection_state


def test_reports_survive_a_restart(tmp_path: Path) -> None:
    """After a restart a device's report is there, and the device is not connected."""
    given = settings(tmp_path / "hub")
    with hub_with_clients(given) as clients:
        connected(clients).patch_twin_reported_properties({"receipt": {"release": "abc"}})
    with hub_with_clients(given) as clients:
        twin = clients.registry.get_twin("luxor-01")
        assert ({"release": "abc"}, "Disconnected") == (
            twin.properties.reported["receipt"],
            twin.connection_state,
        )
