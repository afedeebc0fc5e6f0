"""A hub that one cannot sign in to, that is not there, or that asks for patience: one plain sentence each."""

from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError
from iothub_hub import Clients, hub_with_clients, settings

from fleetctl.errors import OverQuota, Refused, TransportError
from fleetctl.transports.iothub_client import HubClient
from fleetctl.transports.iothub_signin import SignIn

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("iothub"),
    pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLSv1_2 is deprecated"),  # the SDK's own choice
    pytest.mark.filterwarnings("ignore:.*SSLSocket:pytest.PytestUnraisableExceptionWarning"),
]


class Asleep:
    """What a client slept, instead of sleeping."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)


def test_a_wrong_key_is_said(clients: Clients) -> None:
    """A key that is not the hub's is exit 31, with where to look, and the key is not repeated."""
    text = clients.hub.connection_string.rpartition("SharedAccessKey=")[0] + "SharedAccessKey=a2V5"
    client = HubClient(SignIn(clients.hub.service_host, text))
    with pytest.raises(Refused, match="takes neither our key nor our token") as error:
        list(client.rows("SELECT * FROM devices"))

    assert 31 == error.value.exit_code
    client.close()


def test_clocks_that_differ_are_told_from_wrong_keys(clients: Clients) -> None:
    """Tokens that expired on the hub's clock alone are a matter of clocks, and by how much."""
    clients.hub.clock.ahead = 2 * 3600
    client = HubClient(SignIn(clients.hub.service_host, clients.hub.connection_string))
    with pytest.raises(Refused, match="are 120 minutes apart"):
        list(client.rows("SELECT * FROM devices"))
    client.close()


class LoggedOut:
    """A credential of somebody who has not signed in."""

    def get_token(self, *_: str, **__: Any) -> Any:
        raise ClientAuthenticationError("DefaultAzureCredential failed to retrieve a token\nAttempted: all")


def test_who_is_not_signed_in_is_told_how(clients: Clients) -> None:
    """No token from Entra ID is exit 31 with what to do, not the SDK's traceback."""
    client = HubClient(SignIn(clients.hub.service_host), credential=LoggedOut())
    with pytest.raises(Refused, match="gives no token for hub") as error:
        list(client.rows("SELECT * FROM devices"))

    assert "az login" in error.value.hint
    assert error.value.message.isprintable()
    client.close()


def test_a_key_that_was_copied_by_half_is_told(clients: Clients) -> None:
    """A key that is not in base64 is said to be so, and not repeated."""
    text = f"HostName={clients.hub.service_host};SharedAccessKeyName=o;SharedAccessKey=poison!"
    client = HubClient(SignIn(clients.hub.service_host, text))
    with pytest.raises(Refused, match="not in base64") as error:
        list(client.rows("SELECT * FROM devices"))

    assert "poison" not in f"{error.value.message} {error.value.hint}"
    client.close()


@pytest.mark.parametrize(
    ("host", "says"), [("no-such-hub.invalid", "there is no hub"), ("127.0.0.1:9", "cannot be reached")]
)
def test_a_hub_that_is_not_there_is_said(host: str, says: str) -> None:
    """A name that nobody has, and a port on which nobody listens, are exit 30."""
    text = f"HostName={host};SharedAccessKeyName=o;SharedAccessKey=a2V5"
    client = HubClient(SignIn(host, text), sleep=Asleep())
    with pytest.raises(TransportError, match=says) as error:
        list(client.rows("SELECT * FROM devices"))

    assert 30 == error.value.exit_code
    client.close()


def test_a_hub_with_a_strange_certificate_is_refused(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hub that the system does not trust is not talked to, and the message says what a lab needs."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    client = HubClient(SignIn(clients.hub.service_host, clients.hub.connection_string), sleep=Asleep())
    with pytest.raises(Refused, match="certificate") as error:
        list(client.rows("SELECT * FROM devices"))

    assert "REQUESTS_CA_BUNDLE" in error.value.hint
    client.close()


def test_the_hub_says_how_long_to_wait(tmp_path: Path) -> None:
    """Throttled, the client waits as long as `Retry-After` says, and gives up with exit 32, not forever."""
    with hub_with_clients(settings(tmp_path / "hub", tier="S1", units=1, keeps=False)) as clients:
        asleep = Asleep()
        client = HubClient(SignIn(clients.hub.service_host, clients.hub.connection_string), sleep=asleep)
        with pytest.raises(OverQuota) as error:
            for _ in range(500):  # the slower this machine, the more of them the hub lets through
                list(client.rows("SELECT COUNT() AS n FROM devices"))
        assert 32 == error.value.exit_code
        assert asleep.waits
        assert all(1 <= wait <= 3 for wait in asleep.waits)
        clients.hub.service.faults.throttle = 2
        clients.hub.clock.ahead += 60
        asleep.waits.clear()
        assert [{"n": 0}] == list(client.rows("SELECT COUNT() AS n FROM devices"))
        assert [1.0, 1.0] == asleep.waits
        client.close()
