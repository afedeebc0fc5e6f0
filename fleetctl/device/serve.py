"""The service on a board: loads the model of one release and answers on loopback until it is told to stop.

    python serve.py --release DIR

It refuses to start rather than serve something other than what the release says.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import signal
import socketserver
import sys
import threading
import time
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict, Mapping, Optional, Sequence

if not __package__:  # a script beside its siblings: their folder is the package (PEP 366)
    __package__ = "fleetctl_device"
    sys.modules[__package__] = types.ModuleType(__package__)
    sys.modules[__package__].__path__ = [os.path.dirname(os.path.realpath(__file__))]
    sys.dont_write_bytecode = True  # a release folder holds what release.json says and nothing else

# Before numpy: its matrices are small here, and threads that wait for each other cost more than they save.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from . import images
from .detector import PictureTooLarge, TookTooLong
from .folder import ReleaseFolder, ReleaseRefused
from .metrics import CONTENT_TYPE, Metrics
from .opening import Answering, open_model
from .runtime import RuntimeRefused
from .spool import Spool
from .talk import tell

BODY_LIMIT = 16 << 20
REQUEST_TIMEOUT_S = 10.0
DRAIN_S = 3.0


class Service:
    """What every request needs: the model, and who we are."""

    def __init__(self, folder: ReleaseFolder, model: Answering) -> None:
        started = time.time()
        self.model = model
        self.identity: Dict[str, Any] = {
            "release": folder.digest,
            "model_sha256": folder.sha256("model/model.tflite"),
            "accelerator": model.engine.used,
            "pid": os.getpid(),
        }
        self.health: Dict[str, Any] = dict(
            self.identity,
            status="ok",
            runtime=model.engine.versions(),
            started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        )
        info = {key: str(self.identity[key]) for key in ("release", "model_sha256", "accelerator")}
        self.metrics = Metrics(info, started)
        self.stopping = threading.Event()
        self._turn = threading.Lock()  # a large picture takes most of the memory that the unit allows
        self._at_work = 0
        self._idle = threading.Condition()

    def predict(self, body: bytes) -> Dict[str, Any]:
        """The answer to one picture; raises what `images.decode` and the model's `read` raise."""
        with self._turn:
            answer = self.model.read(images.decode(body))
        self.metrics.took(answer["elapsed_ms"])
        return dict(answer, **self.identity)

    def __enter__(self) -> None:
        with self._idle:
            self._at_work += 1

    def __exit__(self, *_: object) -> None:
        with self._idle:
            self._at_work -= 1
            self._idle.notify_all()

    def drain(self) -> None:
        """Wait for requests under way, not for connections that merely stay open."""
        with self._idle:
            self._idle.wait_for(lambda: not self._at_work, DRAIN_S)


class Refusal(Exception):
    """A request that gets an error instead of an answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = REQUEST_TIMEOUT_S
    wbufsize = -1  # headers and body leave together
    server: Server

    def version_string(self) -> str:
        return "fleetctl"

    def do_GET(self) -> None:
        service = self.server.service
        with service:
            if self.path == "/healthz":
                self._reply_json(200, service.health)
            elif self.path == "/metrics":
                self._reply(200, service.metrics.render().encode("utf-8"), CONTENT_TYPE)
            elif self.path == "/predict":
                self._reply_json(405, {"error": "/predict takes POST"}, {"Allow": "POST"})
            else:
                self._reply_json(404, {"error": "no such path; there are /healthz, /metrics and /predict"})

    def do_POST(self) -> None:
        service = self.server.service
        with service:
            try:
                answer = self._predict(service)
            except Refusal as refusal:
                service.metrics.answered(refusal.status)
                self.close_connection = True  # its body may not have been read
                self._reply_json(refusal.status, {"error": str(refusal)}, {"Connection": "close"})
            else:
                service.metrics.answered(200)
                self._reply_json(200, answer)

    def _predict(self, service: Service) -> Dict[str, Any]:
        if self.path != "/predict":
            raise Refusal(404, "no such path; there are /healthz, /metrics and /predict")
        try:
            return service.predict(self._body())
        except images.UnsupportedImage as error:
            raise Refusal(415, str(error)) from None
        except PictureTooLarge as error:
            raise Refusal(413, str(error)) from None
        except TookTooLong as error:
            raise Refusal(503, str(error)) from None
        except images.ImageError as error:
            raise Refusal(400, str(error)) from None
        except (ArithmeticError, ValueError, RuntimeError) as error:
            tell(sys.stderr, "serve: %s" % error)
            raise Refusal(500, str(error)) from None

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length")
        if length is None or self.headers.get("Transfer-Encoding"):
            raise Refusal(411, "the request must give its Content-Length")
        if not length.isdigit() or len(length) > 15:
            raise Refusal(400, "the Content-Length is no number of bytes")
        if int(length) > BODY_LIMIT:
            raise Refusal(413, "the picture is larger than %d bytes" % BODY_LIMIT)
        try:
            body = self.rfile.read(int(length))
        except OSError:
            raise Refusal(400, "the picture did not arrive in time") from None
        if len(body) != int(length):
            raise Refusal(400, "the picture was cut short")
        return body

    def _reply_json(
        self, status: int, value: Mapping[str, Any], headers: Optional[Mapping[str, str]] = None
    ) -> None:
        self._reply(status, json.dumps(value).encode("utf-8"), "application/json", headers)

    def _reply(
        self, status: int, body: bytes, kind: str, headers: Optional[Mapping[str, str]] = None
    ) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()
        except OSError:  # the caller has gone away
            self.close_connection = True

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """Nothing: a line for each picture wears out an SD card, and /metrics counts them."""


class Server(ThreadingHTTPServer):
    """HTTP on one address, a thread for each connection."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, service: Service) -> None:
        self.service = service
        super().__init__((host, port), Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's own, which asks the resolver for our name: minutes on a board without DNS.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, *_: Any) -> None:
        tell(sys.stderr, "serve: a request failed: %s" % (sys.exc_info()[1],))


def serve(release: str) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        ReleaseRefused, RuntimeRefused: the release cannot be served as it says.
    """
    folder = ReleaseFolder(release)
    config = folder.read_json("config/serve.json")
    service = Service(folder, open_model(folder, config))
    server = _listen(config, service)
    for number in (signal.SIGTERM, signal.SIGINT):
        # From a thread of its own: shutdown() waits for the loop that this handler interrupts.
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    spool = config.get("spool")
    if isinstance(spool, str) and spool:
        watcher = Spool(spool, service.predict, BODY_LIMIT)
        threading.Thread(target=watcher.watch, args=(service.stopping,), daemon=True).start()
    where = (folder.digest[:12], server.server_name, server.server_port)
    tell(sys.stderr, "serve: release %s on %s:%d" % where)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    service.stopping.set()
    service.drain()


def _listen(config: Mapping[str, Any], service: Service) -> Server:
    host, port = config.get("host", "127.0.0.1"), config.get("port")
    if isinstance(port, bool) or not isinstance(port, int) or not isinstance(host, str):
        raise ReleaseRefused("config/serve.json gives no host and port")
    if not _is_loopback(host):
        raise ReleaseRefused("it listens on this board alone, never on %.60s" % host)
    try:
        return Server(host, port, service)
    except (OSError, OverflowError) as error:
        raise ReleaseRefused("cannot listen on %s:%d: %s" % (host, port, error)) from None


def _is_loopback(host: str) -> bool:
    """Whoever wants others to ask puts something in front that knows who they are."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="serve.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--release", required=True, help="folder of the release")
    chosen = parser.parse_args(argv)
    try:
        serve(chosen.release)
    except (ReleaseRefused, RuntimeRefused) as error:
        tell(sys.stderr, "serve: %s" % error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
