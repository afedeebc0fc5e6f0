"""What a registry says is a stranger's word: it leads nobody astray, holds nobody up, and breaks nothing."""

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
import requests
from registry import Flaky, serving
from werkzeug.datastructures import Headers
from werkzeug.wrappers import Request, Response

from fleetctl.artifact import BlobRef
from fleetctl.remotes.base import RemoteError, RemoteRefused
from fleetctl.remotes.oci import OciRemote
from fleetctl.store import sha256

DATA = bytes(range(256)) * 40_000  # of three chunks
REF = BlobRef(sha256(DATA), len(DATA))
THIEF = "thief.invalid:8080"


class Leading(Flaky):
    """A registry that answers one method as it is told, all else as it should."""

    def __init__(self, method: str, reply: Callable[[Request], Response]) -> None:
        super().__init__()
        setattr(self, f"on_{method}", reply)


class Raw(Response):
    """A reply whose headers werkzeug leaves as they are: it refuses to send nonsense."""

    def get_wsgi_headers(self, environ: Any) -> Headers:
        del environ
        return Headers(self.headers)


def answer(status: int, **headers: str) -> Callable[[Request], Response]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Raw(status=status, headers={"Content-Length": "0", **named})


def remote_at(address: str, waits: list[float] | None = None) -> OciRemote:
    return OciRemote(address, ("ankh", "papyrus"), pause=(list[float]() if waits is None else waits).append)


def upload(remote: OciRemote) -> None:
    remote.upload(REF, io.BytesIO(DATA))


def use_all(remote: OciRemote) -> None:
    """Everything that is asked of a registry."""
    if not remote.has(REF):
        upload(remote)
    list(remote.read(REF, 0))


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses to which requests really went."""
    found: list[str] = []
    send = requests.adapters.HTTPAdapter.send

    def recorded(self: Any, request: Any, *rest: Any, **options: Any) -> Any:
        found.append(request.url)
        return send(self, request, *rest, **options)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", recorded)
    return found


@pytest.mark.parametrize(
    ("method", "reply"),
    [
        ("post", answer(202, Location=f"http://{THIEF}/steal")),
        ("post", answer(202, Location=f"//{THIEF}/steal")),
        ("post", answer(202, Location=f"http://127.0.0.1:1@{THIEF}/steal")),
        ("patch", answer(202, Location=f"http://{THIEF}/steal", Range="0-99")),
        ("head", answer(307, Location=f"http://{THIEF}/blob")),
        ("post", answer(308, Location=f"http://{THIEF}/uploads")),
        ("get", answer(302, Location=f"http://{THIEF}/blob")),
        ("head", answer(401, WWW_Authenticate=f'Bearer realm="http://{THIEF}/token",service="x"')),
    ],
    ids=["upload", "scheme left out", "user in front", "next chunk", "head", "post", "download", "realm"],
)
def test_nothing_goes_elsewhere_in_the_clear(
    method: str, reply: Callable[[Request], Response], sent: list[str]
) -> None:
    """Neither bytes nor a password: what leads to plain http beyond loopback is refused with its host."""
    with serving(Leading(method, reply)) as address, pytest.raises(RemoteRefused, match=THIEF) as refused:
        use_all(remote_at(address))

    assert 31 == refused.value.exit_code
    assert "X-Forwarded-Proto" in refused.value.hint
    assert sent
    assert not [url for url in sent if "thief" in url]


def replying(monkeypatch: pytest.MonkeyPatch, realm: str) -> list[tuple[str, str | None]]:
    """Play a registry beyond loopback whose tokens come from `realm`: addresses asked, and by whose right."""
    asked: list[tuple[str, str | None]] = []

    def send(self: Any, request: Any, *rest: Any, **options: Any) -> requests.Response:
        del self, rest, options
        asked.append((request.url, request.headers.get("Authorization")))
        reply = requests.Response()
        reply.request, reply.url, reply.raw = request, request.url, io.BytesIO(b'{"token": "pass"}')
        reply.status_code = 200
        if request.url.startswith("https://registry.example/") and not request.headers.get("Authorization"):
            reply.status_code = 401
            reply.headers["WWW-Authenticate"] = f'Bearer realm="{realm}",service="x"'
        return reply

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    return asked


def test_a_distant_registry_gets_no_password_to_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """What listens on this machine is no business of a registry elsewhere."""
    asked = replying(monkeypatch, "http://127.0.0.1:5001/token")
    with pytest.raises(RemoteRefused, match=r"registry\.example leads to http://127\.0\.0\.1:5001"):
        remote_at("oci://registry.example/models").has(REF)

    assert {None} == {right for _, right in asked}
    assert all(url.startswith("https://registry.example/") for url, _ in asked)


def test_a_realm_elsewhere_is_asked_over_https(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Docker Hub's is: the password goes there, and the token to the registry."""
    asked = replying(monkeypatch, "https://auth.example/token")

    assert remote_at("oci://registry.example/models").has(REF)
    assert ("https://auth.example/token?service=x", "Basic YW5raDpwYXB5cnVz") in asked
    assert "Bearer pass" == asked[-1][1]


def test_a_realm_on_loopback_is_asked(sent: list[str]) -> None:
    """A registry on this machine may have its tokens made on another port of it."""

    @Request.application
    def tokens(request: Request) -> Response:
        return Response('{"token": "pass"}', 200 if request.authorization else 401)

    with serving(tokens) as at:
        realm = at.replace("oci://", "http://")

        def head(request: Request) -> Response:
            let_in = request.headers.get("Authorization") == "Bearer pass"
            demand = {"WWW-Authenticate": f'Bearer realm="{realm}"'}
            return Response(status=404) if let_in else Response(status=401, headers=demand)

        with serving(Leading("head", head)) as address:
            assert not remote_at(address).has(REF)
    assert realm in sent


class Deaf(Flaky):
    """A registry that takes chunks and says that `arrived`, in turn, is all it has."""

    def __init__(self, *arrived: str) -> None:
        super().__init__()
        self.arrived = arrived
        self.chunks = 0

    def on_patch(self, request: Request) -> Response:
        request.get_data()
        said = self.arrived[self.chunks % len(self.arrived)]
        self.chunks += 1
        return Response(status=202, headers={"Location": "/v2/models/blobs/uploads/1", "Range": said})


@pytest.mark.parametrize("arrived", [("0-0",), ("",), ("0-4194303", "0-0"), ("0-" + "9" * 5000,)])
def test_an_upload_that_gets_nowhere_ends(arrived: tuple[str, ...]) -> None:
    """Whether the registry stands still or goes to and fro: after some rounds, ever longer, it is exit 30."""
    waits: list[float] = []
    deaf = Deaf(*arrived)
    with serving(deaf) as address, pytest.raises(RemoteError, match="takes no more of blob") as stuck:
        upload(remote_at(address, waits))

    assert 30 == stuck.value.exit_code
    assert [1.0, 2.0, 4.0, 8.0] == waits
    assert deaf.chunks <= 10


def test_a_blob_of_one_byte_is_sent() -> None:
    """A registry says the same of one byte as of none."""
    flaky = Flaky()
    with serving(flaky) as address:
        remote_at(address).upload(BlobRef(sha256(b"x"), 1), io.BytesIO(b"x"))

    assert [b"x"] == list(flaky.blobs.values())


@pytest.mark.parametrize(
    ("method", "reply"),
    [
        ("head", answer(200, Content_Length="abc")),
        ("head", answer(200, Content_Length="12, 12")),
        ("head", answer(200, Content_Length="9" * 5000)),
        ("head", answer(200, Content_Length="1_0")),
        ("head", answer(302, Location="http://[::1/x")),
        ("get", answer(302, Location="http://127.0.0.1:99999999/x")),
        ("post", answer(202, Location="http://[::1/x")),
        ("post", answer(202, Location="http://127.0.0.1:port/x")),
        ("post", answer(202, Location="ftp://127.0.0.1/x")),
        ("head", answer(401, WWW_Authenticate="Bearer nothing")),
        ("head", answer(401, WWW_Authenticate='Bearer realm="http://[::1/x"')),
        ("post", lambda _: Response('{"errors":' + "[" * 9000, 400)),
    ],
)
def test_nonsense_is_one_sentence(method: str, reply: Callable[[Request], Response]) -> None:
    """Whatever a registry answers, exit 30 and its name come of it, at once, and no talk of credentials."""
    waits: list[float] = []
    with serving(Leading(method, reply)) as address, pytest.raises(RemoteError) as said:
        use_all(remote_at(address, waits))

    assert 30 == said.value.exit_code
    assert "127.0.0.1" in said.value.message
    assert re.search(r"nonsense|No connection adapters|Failed to parse|answers 400", said.value.message)
    assert [] == waits


def test_what_a_registry_says_stays_on_one_line() -> None:
    """A line of its own could be taken for a command by what runs a workflow."""
    said = Response('{"errors": [{"message": "no\\n::add-mask::a"}]}', 400)
    with (
        serving(Leading("post", lambda _: said)) as address,
        pytest.raises(RemoteError, match=r"answers 400 .*: no ::add-mask::a\Z"),
    ):
        upload(remote_at(address))


@pytest.mark.parametrize(("least", "chunks"), [("6000000", 2), ("9" * 18, 1), ("-1", 3), ("", 3)])
def test_chunks_are_as_large_as_a_registry_wants_them(least: str, chunks: int) -> None:
    """`OCI-Chunk-Min-Length` is heeded up to what fits in memory; a number that is none is not."""

    def post(request: Request) -> Response:
        del request
        where = {"Location": "/v2/models/blobs/uploads/1", "OCI-Chunk-Min-Length": least}
        return Response(status=202, headers=where)

    leading = Leading("post", post)
    with serving(leading) as address:
        upload(remote_at(address))

    assert {REF.sha256: DATA} == leading.blobs
    assert chunks == sum(each.startswith("PATCH") for each in leading.asked)


@pytest.mark.parametrize("kept", [DATA, DATA[:5]], ids=["no ranges", "cut short"])
def test_a_registry_that_refuses_ranges_is_read_from_the_start(kept: bytes) -> None:
    """By 416 it says that it knows none, or that it has less than the part that is here."""

    def get(request: Request) -> Response:
        if request.path == "/v2/":
            return Response("{}")
        return Response(status=416) if "Range" in request.headers else Response(kept)

    with serving(Leading("get", get)) as address:
        read = b"".join(remote_at(address).read(REF, 100))

    assert kept[100:] == read


def test_a_token_that_is_none_is_one_sentence() -> None:
    """A realm that answers with a list, say."""

    def get(request: Request) -> Response:
        return Response("[]" if "token" in request.path else "{}")

    leading = Leading("get", get)
    with serving(leading) as address:
        realm = address.replace("oci://", "http://").replace("/models", "/token")
        leading.on_head = answer(401, WWW_Authenticate=f'Bearer realm="{realm}"')  # type: ignore[method-assign]
        with pytest.raises(RemoteError, match="a demand for credentials that leads nowhere"):
            remote_at(address).has(REF)
