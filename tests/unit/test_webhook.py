"""A webhook's address and secret are said nowhere, and nothing about an address ends who delivers."""

import contextlib
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fleetctl.children import WEBHOOK as ADDRESS
from fleetctl.children import WEBHOOK_SECRET as SECRET
from fleetctl.errors import UsageError
from fleetctl.notifications import Notification, Occasion, changes
from fleetctl.webhook import Notifier, Webhook, send

POISON = "poison-4c1d9b"
PAUSED = Notification(Occasion.GATE_PAUSED, "unas", "2", "unas: gate of wave 2: pause", {"wave": 2})
FAILED = Notification(Occasion.GATE_FAILED, "unas", "3", "unas: gate of wave 3: fail", {"wave": 3})


def _handler(got: list[str], location: str = "") -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            got.append(self.headers["X-Fleetctl-Delivery"])
            self.send_response(302 if location else 200)
            self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _serving(server: ThreadingHTTPServer) -> Iterator[str]:
    """`host:port` of a server while it serves."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def got() -> list[str]:
    """Ids of what the receiver was told."""
    return []


@pytest.fixture
def receiver(got: list[str]) -> Iterator[str]:
    yield from _serving(ThreadingHTTPServer(("127.0.0.1", 0), _handler(got)))


@pytest.fixture
def lost() -> Iterator[str]:
    """A receiver that leads to an address that is none."""
    handler = _handler([], f"https://[{POISON}")
    yield from _serving(ThreadingHTTPServer(("127.0.0.1", 0), handler))


@pytest.fixture
def impostor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A receiver whose certificate is good, for another host."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    wish = ["-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=other"]
    places = ["-keyout", str(key), "-out", str(certificate), "-addext", "subjectAltName=DNS:other.invalid"]
    subprocess.run(["openssl", "req", "-x509", *wish, *places], check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler([]))
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    yield from _serving(server)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        (f"https://user:{POISON}@hooks.example/x", "has a user or a password in it"),
        (f"https://{POISON}@hooks.example/x", "has a user or a password in it"),
        (f"https://@hooks.example/{POISON}", "has a user or a password in it"),
        (f"https://hooks.example:{POISON}/x", "is no https address"),
        (f"https://hooks.example:65536/{POISON}", "is no https address"),
        (f"https://[{POISON}", "is no https address"),
        (f"https://[{POISON}]/x", "is no https address"),
        (f"https://hooks.example/{POISON} /x", "has a character that no address has"),
        (f"https://hooks.example/{POISON}\n", "has a character that no address has"),
        (f"\thttps://hooks.example/{POISON}", "has a character that no address has"),
        (f"https://hooks.example/{POISON}/é", "has a character that no address has"),
        (f"https://hooks.\u2100example/{POISON}", "has a character that no address has"),
        (f"https://hooks.example/{POISON}\udcff", "has a character that no address has"),
        (f"https://hooks.example/{POISON}\x7f", "has a character that no address has"),
    ],
)
def test_an_odd_address_is_refused_and_not_repeated(address: str, says: str) -> None:
    """Whatever is wrong with it, it is a wrong use of the command, and no part of it is said or chained."""
    with pytest.raises(UsageError, match=says) as error:
        Webhook.of({ADDRESS: address, SECRET: POISON})

    assert POISON not in f"{error.value.message} {error.value.hint}"
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__ or error.value.__context__ is None


@pytest.mark.parametrize(
    "address",
    [
        "https://hooks.example",
        "https://hooks.example:8443/services/T0/%20?token=a&b=@c",
        "https://[2001:db8::1]:443/x",
        "http://[::1]:8080/x",
        "http://LOCALHOST/x",
    ],
)
def test_addresses_that_are_taken(address: str) -> None:
    """Ports, queries, escapes and addresses in brackets are as good as any."""
    webhook = Webhook.of({ADDRESS: address, SECRET: "s"})

    assert webhook is not None
    assert address == webhook.address


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        (f"https://user:{POISON}@hooks.invalid/x", "InvalidURL"),
        (f"http://127.0.0.1:1/{POISON} /x", "InvalidURL"),
        (f"http://127.0.0.1:1/{POISON}/é", "Unicode"),
        (f"http://{POISON}..invalid/", "Unicode"),  # which of its errors, Pythons differ in
        (f"http://127.0.0.1:1/{POISON}", "Connection refused"),
    ],
)
def test_a_failure_says_its_kind_alone(address: str, kind: str) -> None:
    """What a library says of an address that it cannot use repeats the address, and so is not said."""
    failure = send(Webhook(address, "s"), PAUSED, lambda _: None)

    assert failure.startswith(f"the receiver cannot be reached: {kind}")
    assert POISON not in failure


def test_a_certificate_for_another_host_does_not_have_ours_said(impostor: str) -> None:
    """The host is part of the address, and OpenSSL names it in its complaint."""
    failure = send(Webhook(f"https://{impostor}/{POISON}", "s"), PAUSED, lambda _: None)

    assert "the receiver cannot be reached: CERTIFICATE_VERIFY_FAILED" == failure


def test_a_receiver_that_leads_nowhere_is_a_failure(lost: str) -> None:
    """A redirection that cannot even be read is not followed either, nor repeated."""
    failure = send(Webhook(f"http://{lost}/", "s"), PAUSED, lambda _: None)

    assert "the receiver cannot be reached: ValueError" == failure


def test_one_delivery_that_fails_oddly_does_not_end_the_others(
    receiver: str, got: list[str], tmp_path: Path
) -> None:
    """Who delivers outlives whatever goes wrong with one message, says its kind, and tells of it again."""
    warned: list[str] = []
    accidents = iter([RuntimeError(POISON)])

    def sleep(_: float) -> None:
        for accident in accidents:
            raise accident

    webhook = Webhook(f"http://{receiver}/", "s")
    with Notifier(webhook, tmp_path / "memory", warned.append, sleep=sleep) as notifier:
        for each in (PAUSED, FAILED, PAUSED):
            notifier.tell(each)

    assert [FAILED.key, PAUSED.key] == got
    assert ["gate-paused was not delivered: RuntimeError"] == warned


def test_a_warning_that_cannot_be_printed_does_not_end_the_others(
    receiver: str, got: list[str], tmp_path: Path
) -> None:
    """Standard error may be a file on a full disk: what comes after is delivered all the same."""

    def full(_: str) -> None:
        raise OSError(28, "No space left on device")

    accidents = iter([RuntimeError("an accident")])

    def sleep(_: float) -> None:
        for accident in accidents:
            raise accident

    webhook = Webhook(f"http://{receiver}/", "s")
    with Notifier(webhook, tmp_path / "memory", full, sleep=sleep) as notifier:
        notifier.tell(PAUSED)
        notifier.tell(FAILED)

    assert [FAILED.key] == got


def test_plain_http_stays_on_this_machine(
    receiver: str, got: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy of the environment's is not handed an address, and a message, that are for this machine."""
    monkeypatch.setenv("http_proxy", f"http://{receiver}")
    monkeypatch.delenv("no_proxy", raising=False)
    failure = send(Webhook(f"http://127.0.0.1:1/{POISON}", "s"), PAUSED, lambda _: None)

    assert "the receiver cannot be reached: Connection refused" == failure
    assert [] == got


def test_nobody_waits_behind_the_last_try() -> None:
    """There is a pause before each further try, and none when there is no other."""
    slept: list[float] = []
    send(Webhook("http://127.0.0.1:1/", "s"), PAUSED, slept.append)

    assert [0.0, 1.0, 4.0, 15.0] == slept


@pytest.mark.parametrize("stopped", [None, KeyboardInterrupt, SystemExit, OSError])
def test_who_interrupts_does_not_wait_for_a_receiver(
    tmp_path: Path, stopped: type[BaseException] | None
) -> None:
    """What ends by itself does, for so long, and says so: nobody looks at a silent terminal for long."""
    warned: list[str] = []
    for_ever = threading.Event()
    webhook = Webhook("http://127.0.0.1:1/", "s")

    def sleep(_: float) -> None:
        for_ever.wait()

    notifier = Notifier(webhook, tmp_path / "m", warned.append, sleep=sleep, patience=4.0)
    with contextlib.suppress(KeyboardInterrupt, SystemExit, OSError), notifier:
        notifier.tell(PAUSED)
        if stopped:
            raise stopped

    slow = "the receiver of notifications is slow: it has another 1 s at most"
    waited = stopped is None or issubclass(stopped, Exception)
    assert [*([slow] if waited else []), "notifications were not delivered in time"] == warned


def test_what_is_not_delivered_in_time_is_not_remembered_as_told(tmp_path: Path) -> None:
    """When patience ends before a receiver answers, its boards are told of the next time."""
    warned: list[str] = []
    for_ever = threading.Event()
    webhook, memory = Webhook("http://127.0.0.1:1/", "s"), tmp_path / "memory"

    def sleep(_: float) -> None:
        for_ever.wait()

    notifier = Notifier(webhook, memory, warned.append, sleep=sleep, patience=0.01)
    with notifier:
        for each in changes("unas", {}, {"luxor-01": "wrong: x"}, ["luxor-01"], "now"):
            notifier.tell(each)
    notifier.remember({"luxor-01": "wrong: x"})

    assert ["notifications were not delivered in time"] == warned
    assert {} == Notifier(webhook, memory, print).ailments
    for_ever.set()
