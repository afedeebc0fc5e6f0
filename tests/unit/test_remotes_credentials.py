"""To whom credentials go, and for how long: tokens for one right each, hosts beside the registry, logins."""

import base64
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from registry import Flaky, serving
from werkzeug.wrappers import Request, Response

from fleetctl.artifact import BlobRef
from fleetctl.remotes.base import RemoteRefused
from fleetctl.remotes.oci import OciRemote
from fleetctl.store import sha256

DATA = bytes(range(256)) * 40_000  # of three chunks
REF = BlobRef(sha256(DATA), len(DATA))
BASIC = f"Basic {base64.b64encode(b'ankh:papyrus').decode()}"


def remote_at(address: str, credentials: tuple[str, str] | None = ("ankh", "papyrus")) -> OciRemote:
    return OciRemote(address, credentials, pause=lambda _: None)


class Guarded(Flaky):
    """A registry whose tokens are for the scope that was demanded, and for `lasts` requests."""

    def __init__(self, lasts: int = 1000) -> None:
        super().__init__()
        self.lasts = lasts
        self.left: dict[str, int] = {}
        self.tokens: list[str] = []

    @Request.application
    def __call__(self, request: Request) -> Response:
        if request.path == "/token":
            scope = request.args["scope"].rpartition(":")[2]
            self.tokens.append(scope)
            self.left[scope] = self.lasts
            return Response(f'{{"token": "{scope}"}}')
        if request.path == "/v2/":
            return Response("{}")
        needed = "pull" if request.method in ("GET", "HEAD") else "pull,push"
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if needed not in given or not self.left.get(given):
            request.get_data()
            realm = f'Bearer realm="{request.host_url}token",service="x",scope="repository:models:{needed}"'
            return Response(status=401, headers={"WWW-Authenticate": realm})
        self.left[given] -= 1
        handler: Callable[[Request], Response] = getattr(self, f"on_{request.method.lower()}")
        return handler(request)


def test_a_token_to_pull_is_exchanged_for_one_to_push() -> None:
    """What asked whether a blob is there may not bring it: the registry says so by 401, and is asked anew."""
    guarded = Guarded()
    with serving(guarded) as address:
        remote = remote_at(address)
        assert not remote.has(REF)
        remote.upload(REF, io.BytesIO(DATA))
        assert remote.has(REF)

    assert {REF.sha256: DATA} == guarded.blobs
    assert ["pull", "pull,push"] == guarded.tokens


def test_a_token_that_ends_amid_an_upload_is_exchanged() -> None:
    """Large models take longer than a token lasts; no chunk is lost by it."""
    guarded = Guarded(lasts=2)
    with serving(guarded) as address:
        remote_at(address).upload(REF, io.BytesIO(DATA))

    assert {REF.sha256: DATA} == guarded.blobs
    assert 3 == len(guarded.tokens)


def test_a_password_is_said_with_the_first_chunk() -> None:
    """A registry that wants a password gets each chunk once, not first without and then with it."""
    chunks: list[str | None] = []

    class Locked(Flaky):
        @Request.application
        def __call__(self, request: Request) -> Response:
            right = request.headers.get("Authorization")
            if request.method == "PATCH":
                chunks.append(right)
            if right != BASIC:
                request.get_data()
                return Response(status=401, headers={"WWW-Authenticate": 'Basic realm="fleet"'})
            handler: Callable[[Request], Response] = getattr(self, f"on_{request.method.lower()}")
            return handler(request)

    with serving(Locked()) as address:
        remote_at(address).upload(REF, io.BytesIO(DATA))

    assert [BASIC] * 3 == chunks


class Elsewhere:
    """A host that a registry leads to: it hears what it is sent, and demands what it may not have."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.rights: list[str | None] = []

    @Request.application
    def __call__(self, request: Request) -> Response:
        self.rights.append(request.headers.get("Authorization"))
        request.get_data()
        demand = f'Bearer realm="{request.host_url}steal"'
        return Response("{}", self.status, headers={"WWW-Authenticate": demand} if self.status == 401 else {})


@pytest.mark.parametrize("place", ["upload", "redirect"])
@pytest.mark.parametrize("status", [403, 401])
def test_another_host_gets_neither_token_nor_password(place: str, status: int) -> None:
    """An upload, or a blob, may lie on another host: what its address says is all the right it needs."""
    elsewhere = Elsewhere(status)
    with serving(elsewhere) as other:
        away = other.replace("oci://", "http://")

        class Leading(Guarded):
            def on_post(self, request: Request) -> Response:
                del request
                return Response(status=202, headers={"Location": f"{away}/uploads/1"})

            def on_get(self, request: Request) -> Response:
                del request
                return Response(status=307, headers={"Location": f"{away}/blob"})

        with serving(Leading()) as address, pytest.raises(RemoteRefused, match="refuses"):
            remote = remote_at(address)
            remote.upload(REF, io.BytesIO(DATA)) if place == "upload" else list(remote.read(REF, 0))

    assert [None] == elsewhere.rights


def test_a_netrc_takes_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its `default` would go to every host, in place of a token: only what the manual names is a login."""
    from requests import Request as Asked
    from requests import Response as Answered
    from requests import Session

    from fleetctl.remotes.sessions import careful

    (tmp_path / "netrc").write_text("default login scribe password reed\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    session = careful(Session(), "registry.example")
    bearer = {"Authorization": "Bearer t"}
    asked = session.prepare_request(Asked("GET", "https://registry.example/v2/", headers=bearer))
    reply = Answered()
    reply.request = asked
    led = asked.copy()
    led.url = "https://blobs.example/1"
    session.rebuild_auth(led, reply)  # type: ignore[no-untyped-call]

    assert "Bearer t" == asked.headers["Authorization"]
    assert "Authorization" not in led.headers


class Locked(Flaky):
    """A registry that demands a password, and keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: set[str] = set()

    @Request.application
    def __call__(self, request: Request) -> Response:
        given = request.headers.get("Authorization")
        if given is None:
            return Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        self.given.add(given)
        handler: Callable[[Request], Response] = getattr(self, f"on_{request.method.lower()}")
        return handler(request)


def docker_login(folder: Path, address: str, password: str) -> Path:
    auth = base64.b64encode(f"ankh:{password}".encode()).decode()
    folder.mkdir()
    (folder / "config.json").write_text(f'{{"auths": {{"{address}": {{"auth": "{auth}"}}}}}}')
    return folder


def test_a_login_is_looked_for_where_docker_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder that `DOCKER_CONFIG` names and there alone; where it is empty or unset, in the home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    locked = Locked()
    with serving(locked) as address:
        registry = address.removeprefix("oci://").partition("/")[0]
        docker_login(tmp_path / ".docker", registry, "home")
        named = docker_login(tmp_path / "named", registry, "papyrus")
        monkeypatch.setenv("DOCKER_CONFIG", str(named))
        remote_at(address, None).has(REF)
        assert {BASIC} == locked.given

        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))  # has no config.json
        with pytest.raises(RemoteRefused):
            remote_at(address, None).has(REF)

        monkeypatch.setenv("DOCKER_CONFIG", "")
        remote_at(address, None).has(REF)
        assert {BASIC, f"Basic {base64.b64encode(b'ankh:home').decode()}"} == locked.given


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"auths": [1]}', '{"auths": 1}', '{"credsStore": "broken"}', b"\xff"],
)
def test_a_login_that_cannot_be_read_is_said(
    text: str | bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a damaged file, or a helper that answers nonsense: the file is named, not the registry blamed."""
    helper = tmp_path / "docker-credential-broken"
    helper.write_text("#!/bin/sh\necho secret-nonsense\n")
    helper.chmod(0o755)
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_bytes(text.encode() if isinstance(text, str) else text)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with serving(Flaky()) as address, pytest.raises(RemoteRefused, match=r"login.* cannot be read") as said:
        remote_at(address, None).has(REF)

    assert "FLEETCTL_REGISTRY_USER" in said.value.hint
    assert "secret" not in str(said.value)
