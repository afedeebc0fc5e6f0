"""Something answers that is no hub, or a hub that is down: an error that names it, and what to try."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from azure.iot.hub.models import Configuration, ConfigurationContent

from fleetctl.errors import OverQuota, TransportError
from fleetctl.lab.iothub.authority import Authority
from fleetctl.transports.iothub_client import HubClient, NoAnswer, NotThere
from fleetctl.transports.iothub_signin import SignIn


@dataclass
class Stranger:
    """An https server on loopback that answers whatever it is told to."""

    host: str = ""
    answers: list[tuple[int, bytes]] = field(default_factory=list)  # the last one for ever
    kind: str = ""  # Content-Type
    code: str = ""  # the hub's name for it
    asked: int = 0

    def next(self) -> tuple[int, bytes]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def stranger(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stranger]:
    known = Stranger()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = known.next()
            self.send_response(status)
            if known.kind:
                self.send_header("Content-Type", known.kind)
            if known.code:
                self.send_header("iothub-errorcode", known.code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.root.certificate))
    proof = authority.server("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(proof.certificate, proof.key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        known.host = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield known
        server.shutdown()
        thread.join()


@pytest.fixture
def client(stranger: Stranger) -> Iterator[HubClient]:
    text = f"HostName={stranger.host};SharedAccessKeyName=o;SharedAccessKey=a2V5"
    client = HubClient(SignIn(stranger.host, text), sleep=lambda _: None)
    yield client
    client.close()


def deployment() -> Any:
    return Configuration(id="d", content=ConfigurationContent(), etag="1")


CALLS: dict[str, Callable[[HubClient], object]] = {
    "rows": lambda client: list(client.rows("SELECT * FROM devices")),
    "tag": lambda client: client.tag([("luxor-01", "e", {})]),
    "device_twin": lambda client: client.device_twin("luxor-01"),
    "reported": lambda client: client.reported("luxor-01", "fleetctl"),
    "deployments": lambda client: client.deployments(),
    "create_deployment": lambda client: client.create_deployment(deployment()),
    "set_priority": lambda client: client.set_priority("d", 0),
    "delete_deployment": lambda client: client.delete_deployment("d"),
    "invoke": lambda client: client.invoke("luxor-01", "fleetctl", "smoke", {}, 5.0),
    "invoke_once": lambda client: client.invoke("luxor-01", "fleetctl", "revert", {}, 5.0, once=True),
}
FINE: dict[int, set[str]] = {  # calls that have an answer of their own to this
    302: set(),
    404: {"device_twin", "reported", "set_priority", "delete_deployment", "invoke", "invoke_once"},
    407: set(),
    409: {"create_deployment"},
    412: {"create_deployment"},
    502: {"invoke_once"},
    504: {"invoke", "invoke_once"},
}


@pytest.mark.parametrize(
    ("status", "call"),
    [(status, call) for status, fine in FINE.items() for call in CALLS if call not in fine],
)
def test_a_status_that_nobody_waits_for_is_said(
    stranger: Stranger, client: HubClient, status: int, call: str
) -> None:
    """Whatever a call has no answer to itself ends in exit 30, with the host and what to try."""
    stranger.answers = [(status, b"")]
    with pytest.raises(TransportError) as error:
        CALLS[call](client)

    assert 30 == error.value.exit_code
    assert stranger.host in error.value.message
    assert error.value.hint


def test_a_day_that_is_used_up_is_said(stranger: Stranger, client: HubClient) -> None:
    """A hub that has had its messages of the day is over its quota, and nobody lacks a right."""
    stranger.answers, stranger.code = [(403, b"")], "IotHubQuotaExceeded"
    with pytest.raises(OverQuota, match="in a day") as error:
        CALLS["rows"](client)

    assert 32 == error.value.exit_code
    assert "midnight" in error.value.hint


def outcome(**errors: str) -> tuple[int, bytes]:
    """A hub's answer to bulk changes, with an error code for each device that it left out."""
    said = [{"deviceId": name, "errorCode": code, "errorStatus": code} for name, code in errors.items()]
    return 200, json.dumps({"isSuccessful": not said, "errors": said}).encode()


def test_devices_that_a_busy_hub_left_out_are_tagged_again(stranger: Stranger, client: HubClient) -> None:
    """Of a hundred changes in one call, some may be throttled by themselves, and others come too late."""
    stranger.answers = [
        outcome(a="ThrottlingException", b="PreconditionFailed", c="DeviceNotFound"),
        outcome(a="ServerBusy"),
        outcome(),
    ]
    assert ["b"] == client.tag([(name, "1", {}) for name in "abcd"])
    assert 3 == stranger.asked
    stranger.answers = [outcome(a="ThrottlingException")]
    with pytest.raises(OverQuota, match="still throttled after 8 tries"):
        client.tag([("a", "1", {})])


def test_a_hub_that_does_not_say_when_is_waited_for(stranger: Stranger) -> None:
    """Its rates are by the minute: without `Retry-After` the tries are spread over more than that."""
    waits: list[float] = []
    text = f"HostName={stranger.host};SharedAccessKeyName=o;SharedAccessKey=a2V5"
    client = HubClient(SignIn(stranger.host, text), sleep=waits.append)
    stranger.answers = [(429, b"")]
    with pytest.raises(OverQuota):
        CALLS["rows"](client)
    client.close()

    assert 60 < sum(waits) < 120


def test_columns_have_one_name(stranger: Stranger, client: HubClient) -> None:
    """Azure has given `DeviceId` where a query said `deviceId`; what we name ourselves stays as it is."""
    stranger.answers = [(200, json.dumps([{"DeviceId": "a", "ETag": "1", "n": 2}]).encode())]

    assert [{"deviceId": "a", "etag": "1", "n": 2}] == list(client.rows("SELECT deviceId, etag FROM devices"))


LOGIN = b"<html><body>Sign in to go on</body></html>"


@pytest.mark.parametrize("call", [call for call in CALLS if call != "delete_deployment"])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html; charset=utf-8", LOGIN),
        ("", LOGIN),
        ("application/json", b"\xff\xfe\xfd"),
        ("application/json", b'"a text"'),
        ("application/json", b"[7]"),
    ],
)
def test_a_page_instead_of_an_answer_is_said(
    stranger: Stranger, client: HubClient, kind: str, body: bytes, call: str
) -> None:
    """As a proxy gives one that wants somebody to sign in: exit 30, at once, and not a traceback."""
    stranger.answers, stranger.kind = [(200, body)], kind
    with pytest.raises(TransportError, match="does not answer as a hub does") as error:
        CALLS[call](client)

    assert (30, 1) == (error.value.exit_code, stranger.asked)
    assert stranger.host in error.value.message
    assert "proxy" in error.value.hint


@pytest.mark.parametrize(
    ("call", "status", "body"),
    [
        ("rows", 200, b""),
        ("rows", 200, b"{}"),
        ("rows", 200, b"[null]"),
        ("tag", 200, b""),
        ("tag", 400, b""),
        ("tag", 400, json.dumps({"Message": "ErrorCode:ArgumentInvalid"}).encode()),
        ("device_twin", 200, b""),
        ("reported", 200, b""),
        ("deployments", 200, b""),
        ("deployments", 200, b"[null]"),
        ("deployments", 200, b"[{}]"),
        ("set_priority", 200, b""),
        ("invoke", 200, b""),
    ],
)
def test_an_answer_without_what_was_asked_for_is_said(
    stranger: Stranger, client: HubClient, call: str, status: int, body: bytes
) -> None:
    """What the SDK takes for an answer though nothing is in it is not taken for success."""
    stranger.answers = [(status, body)]
    with pytest.raises(TransportError) as error:
        CALLS[call](client)

    assert stranger.host in error.value.message
    assert error.value.hint


def test_what_callers_wait_for_still_reaches_them(stranger: Stranger, client: HubClient) -> None:
    """A device that is gone, a module that is away or silent, a name that is taken are no faults of a hub."""
    stranger.answers, stranger.code = [(404, b"")], "DeviceNotOnline"
    for call in ("device_twin", "invoke", "invoke_once"):
        with pytest.raises(NotThere) as error:
            CALLS[call](client)
        assert "DeviceNotOnline" == error.value.code
    for call in ("set_priority", "delete_deployment"):
        assert CALLS[call](client) is None
    stranger.answers = [(200, json.dumps({"status": 0, "payload": None}).encode())]  # by way of edgeHub
    for call in ("invoke", "invoke_once"):
        with pytest.raises(NotThere, match="edgeHub"):
            CALLS[call](client)
    stranger.answers = [(504, b"")]
    for call in ("invoke", "invoke_once"):
        with pytest.raises(NoAnswer):
            CALLS[call](client)
    for status in (409, 412):
        stranger.answers = [(status, b"")]
        assert CALLS["create_deployment"](client) is None


@pytest.mark.parametrize("status", [404, 412])
def test_a_deployment_that_goes_while_it_is_changed_is_let_go(
    stranger: Stranger, client: HubClient, status: int
) -> None:
    """Another controller deleted it between our look at it and our change of it."""
    found = json.dumps({"id": "d", "etag": "1"}).encode()
    stranger.answers = [(200, found), (status, b""), (404, b"")]
    client.set_priority("d", 0)

    assert 3 == stranger.asked
