"""The service's HTTP: what a caller may ask, and how it is told that it may not."""

from __future__ import annotations

import contextlib
import io
import json
import re
import socket
import socketserver
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict, Mapping, Optional

from . import images
from .detector import PictureTooLarge, TookTooLong
from .incoming import Callers, Incoming, NoRoom, Room
from .metrics import CONTENT_TYPE
from .served_model import ServedModel
from .talk import tell

BODY_LIMIT = 16 << 20
BODIES_LIMIT = 2 * BODY_LIMIT  # of all callers together, but for small ones
REQUEST_S = 10.0  # for the head of a request, however it comes; a connection may be idle as long
BODY_S = 20.0  # for its body
LINGER_S = 1.0  # for a body that is not wanted

_LENGTH = re.compile(r"[0-9]{1,15}")
_NOWHERE = "no such path; there are /healthz, /metrics and /predict"
_CROWDED = json.dumps({"error": "too many connections are open"}).encode("ascii")
_CROWDED_HEAD = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n"
)


class Refusal(Exception):
    """A request that gets an error instead of an answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # even a request that cannot be read gets a status
    timeout = REQUEST_S
    wbufsize = -1  # headers and body leave together
    server: Server

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._incoming = Incoming(self.connection)
        self.rfile = io.BufferedReader(self._incoming)

    def version_string(self) -> str:
        return "fleetctl"

    def handle_one_request(self) -> None:
        self._is_asked_for_body = False
        self._unread = 0
        self._incoming.allow(REQUEST_S)
        self.server.callers.is_idle(self.connection)
        super().handle_one_request()

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        self.server.callers.is_at_work(self.connection)
        if self.command != "POST" and self._has_body():
            self.close_connection = True  # nobody reads that body: it is not to pass for the next request
        return True

    def _has_body(self) -> bool:
        lengths = self.headers.get_all("Content-Length", [])
        return "Transfer-Encoding" in self.headers or any(length != "0" for length in lengths)

    def handle_expect_100(self) -> bool:
        """Not yet: the body is asked for when there is room for it."""
        self._is_asked_for_body = True
        return True

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
                self._reply_json(404, {"error": _NOWHERE})

    do_HEAD = do_GET  # `_reply` leaves out the body

    def do_POST(self) -> None:
        service = self.server.service
        with service:
            try:
                answer = self._predict(service)
            except Refusal as refusal:
                service.metrics.answered(refusal.status)
                self.close_connection = True  # its body may not have been read
                self._reply_json(refusal.status, {"error": str(refusal)})
            else:
                service.metrics.answered(200)
                self._reply_json(200, answer)
        if self._unread:
            self._hear_out()

    def _predict(self, service: ServedModel) -> Dict[str, Any]:
        if self.path != "/predict":
            raise Refusal(404, _NOWHERE)
        length = self._length()
        try:
            with self.server.room.taken(length):
                return service.predict(self._body(length))
        except images.UnsupportedImage as error:
            raise Refusal(415, str(error)) from None
        except PictureTooLarge as error:
            raise Refusal(413, str(error)) from None
        except (NoRoom, TookTooLong) as error:
            raise Refusal(503, str(error)) from None
        except images.ImageError as error:
            raise Refusal(400, str(error)) from None
        except (ArithmeticError, ValueError, RuntimeError) as error:
            tell(sys.stderr, "serve: %s" % error)
            raise Refusal(500, str(error)) from None

    def _length(self) -> int:
        lengths = set(self.headers.get_all("Content-Length", []))
        if not lengths or "Transfer-Encoding" in self.headers:
            raise Refusal(411, "the request must give its Content-Length")
        length = lengths.pop()
        if lengths or not _LENGTH.fullmatch(length):
            raise Refusal(400, "the Content-Length is no number of bytes")
        self._unread = 0 if self._is_asked_for_body else int(length)
        if int(length) > BODY_LIMIT:
            raise Refusal(413, "the picture is larger than %d bytes" % BODY_LIMIT)
        return int(length)

    def _body(self, length: int) -> bytes:
        self._unread = 0
        self._incoming.allow(BODY_S)
        try:
            if self._is_asked_for_body:
                self.send_response_only(100)
                self.end_headers()
                self.wfile.flush()
            body = self.rfile.read(length)
        except OSError:
            raise Refusal(400, "the picture did not arrive in time") from None
        if len(body) != length:
            raise Refusal(400, "the picture was cut short")
        return body

    def _hear_out(self) -> None:
        """Whoever is still sending would find the connection broken before it reads the reply."""
        with self.server.callers.lingering(self.connection) as may_stay, contextlib.suppress(OSError):
            self._incoming.allow(LINGER_S if may_stay else 0.0)
            while self._unread > 0:
                self._unread -= len(self.rfile.read1(1 << 16)) or self._unread

    def send_error(self, code: int, message: Optional[str] = None, explain: Optional[str] = None) -> None:
        """Of a request that http.server cannot read: as JSON, like every other error."""
        self.close_connection = True
        self._reply_json(int(code), {"error": "%.200s" % (message or explain or self.responses[code][0])})

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
            if self.close_connection:
                self.send_header("Connection", "close")
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            self.wfile.flush()
        except OSError:  # the caller has gone away
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a line for each picture, or for each caller that goes away, wears out an SD card."""


class Server(ThreadingHTTPServer):
    """HTTP on one address, a thread for each connection."""

    daemon_threads = True
    request_queue_size = 64
    timeout = 0.1  # seconds until `handle_request` returns where nobody comes

    def __init__(self, host: str, port: int, service: ServedModel) -> None:
        self.service = service
        self.callers = Callers()
        self.room = Room(BODIES_LIMIT)
        super().__init__((host, port), Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's own, which asks the resolver for our name: minutes on a board without DNS.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if self.callers.admit(request):
            super().process_request(request, client_address)
            return
        with contextlib.suppress(OSError):
            request.setblocking(False)  # others wait to be let in
            request.send(_CROWDED_HEAD % len(_CROWDED) + _CROWDED)
        self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        self.callers.has_left(request)
        super().shutdown_request(request)

    def handle_error(self, *_: Any) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, socket.timeout)):  # a caller that went away is no fault
            tell(sys.stderr, "serve: a request failed: %s" % (error,))
