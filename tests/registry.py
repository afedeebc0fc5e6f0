"""OCI registries on loopback: Debian's docker-registry, where it is installed, and one that fails."""

import contextlib
import hashlib
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
{auth}
"""
_AUTH = "auth: {{htpasswd: {{realm: fleet, path: {path}}}}}\n"


@contextlib.contextmanager
def running_registry(folder: Path, htpasswd: str = "") -> Iterator[str]:
    """`host:port` of a registry of a test's own; `htpasswd` (bcrypt) says whom it lets in."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("no docker-registry here: `apt-get install docker-registry` to run this test")
    folder.mkdir(parents=True, exist_ok=True)
    auth = ""
    if htpasswd:
        (folder / "htpasswd").write_text(htpasswd)
        auth = _AUTH.format(path=folder / "htpasswd")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "config.yml").write_text(_CONFIG.format(folder=folder / "data", port=port, auth=auth))
    with subprocess.Popen(
        [program, "serve", str(folder / "config.yml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _wait_for(port)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise TimeoutError("docker-registry does not answer")


_REFUSALS: dict[str, Callable[[], Response]] = {
    "busy": lambda: Response("busy", 503),
    "slow": lambda: Response("slow", 408),
    "often": lambda: Response("too often", 429, headers={"Retry-After": "30"}),
    "for ever": lambda: Response("too often", 429, headers={"Retry-After": "999999"}),
    "till then": lambda: Response("too often", 429, headers={"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"}),
}


class Flaky:
    """A registry that forgets half a chunk, or to say that a blob is there; is busy, or knows no Range.

    `immutable` is what it answers to whoever gives a tag a second time, where it minds.
    """

    def __init__(self, immutable: int = 0) -> None:
        self.immutable = immutable
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.upload = bytearray()
        self.ended = False
        self.faults: list[str] = []
        self.asked: list[str] = []

    @Request.application
    def __call__(self, request: Request) -> Response:
        self.asked.append(f"{request.method} {request.path.rsplit('/', 1)[-1][:8]}")
        if self.faults and self.faults[0] in _REFUSALS:
            return _REFUSALS[self.faults.pop(0)]()
        return getattr(self, f"on_{request.method.lower()}")(request)

    def on_head(self, request: Request) -> Response:
        digest = request.path.rsplit(":", 1)[-1]
        if digest not in self.blobs:
            return Response(status=404)
        return Response(headers={"Content-Length": str(len(self.blobs[digest]))})

    def on_post(self, request: Request) -> Response:
        del request
        self.upload.clear()
        self.ended = False
        return Response(status=202, headers={"Location": "/v2/models/blobs/uploads/1?state=a"})

    def on_patch(self, request: Request) -> Response:
        data = request.get_data()
        start = int(request.headers["Content-Range"].split("-")[0])
        if start != len(self.upload):
            return self._told(416)
        if self.faults and self.faults[0] == "half":
            self.faults.pop(0)
            self.upload += data[: len(data) // 2]
            return Response("lost", 500)
        self.upload += data
        return self._told(202)

    def on_get(self, request: Request) -> Response:
        if "/uploads/" in request.path:
            return self._told(204)
        if request.path == "/v2/":
            return Response("{}")
        if "/manifests/" in request.path:
            kept = self.manifests.get(request.path.rsplit("/", 1)[-1])
            return Response(status=404) if kept is None else Response(kept)
        return Response(self.blobs[request.path.rsplit(":", 1)[-1]])  # whatever Range said

    def on_put(self, request: Request) -> Response:
        if "/manifests/" in request.path:
            return self._named(request.path.rsplit("/", 1)[-1], request.get_data())
        if self.ended:
            return Response(json.dumps({"errors": [{"message": "blob upload unknown"}]}), 404)
        digest = request.args["digest"].removeprefix("sha256:")
        if hashlib.sha256(self.upload).hexdigest() != digest:
            return Response(json.dumps({"errors": [{"message": "digest invalid"}]}), 400)
        self.blobs[digest] = bytes(self.upload)
        if self.faults and self.faults[0] == "untold":
            self.faults.pop(0)
            self.ended = True
            return Response("lost", 502)
        return Response(status=201)

    def _named(self, tag: str, manifest: bytes) -> Response:
        if self.immutable and tag in self.manifests:
            return Response(json.dumps({"errors": [{"message": "tag is immutable"}]}), self.immutable)
        self.manifests[tag] = manifest
        return Response(status=201)

    def _told(self, status: int) -> Response:
        arrived = {"Range": f"0-{len(self.upload) - 1}"} if self.upload else {}
        return Response(status=status, headers={"Location": "/v2/models/blobs/uploads/1?state=b", **arrived})


@contextlib.contextmanager
def serving(application: Callable[..., Any]) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)  # seconds to its end
    thread.start()
    try:
        yield f"oci://127.0.0.1:{server.server_port}/models"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
