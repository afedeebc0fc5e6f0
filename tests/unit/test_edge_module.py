"""The module's main program with a hub that tests play: what it follows, answers, and sits out."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fleetctl.device.edge_module import EdgeModule, predicted
from fleetctl.device.edge_report import SCHEMA


class PlayedHub:
    """A hub for one module; `absent` is how many connections fail first."""

    def __init__(self, desired: dict[str, Any], absent: int = 0) -> None:
        self.desired = desired
        self.absent = absent
        self.reports: list[dict[str, Any]] = []
        self.answers: list[tuple[str, int, dict[str, Any]]] = []
        self.sent: list[tuple[bytes, str]] = []
        self.on_method: Callable[[Any], None] = lambda _: None
        self.on_message: Callable[[Any], None] = lambda _: None
        self.reported = threading.Event()

    def connect(self, on_desired: Any, on_method: Any, on_message: Any) -> None:
        del on_desired
        if self.absent:
            self.absent -= 1
            raise ConnectionError("the hub is away")
        self.on_method, self.on_message = on_method, on_message

    def twin(self) -> dict[str, Any]:
        return {"desired": self.desired, "reported": {}}

    def report(self, patch: dict[str, Any]) -> None:
        self.reports.append(patch["fleetctl"])
        self.reported.set()

    def answer(self, request: Any, status: int, payload: dict[str, Any]) -> None:
        self.answers.append((request.name, status, payload))

    def send(self, payload: bytes, output: str) -> None:
        self.sent.append((payload, output))

    def close(self) -> None: ...


class PlayedBoard:
    """A board that says `ok` to everything, and remembers what it was asked."""

    floor = 0

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.held: list[int] = []

    def ask(self, verb: str, request: Any, payload: bytes = b"") -> dict[str, Any]:
        del request, payload
        self.asked.append(verb)
        return {"ok": True, "state": "reverted"}

    def hold(self, issued: int) -> None:
        self.held.append(issued)


def run(hub: PlayedHub, board: PlayedBoard, then: Callable[[], None] = lambda: None) -> EdgeModule:
    """Run a module until it has reported, do something, and let it end."""
    carrier = SimpleNamespace(digest="image-1", files={})
    module = EdgeModule(hub, carrier, board, "luxor-01")  # type: ignore[arg-type]
    thread = threading.Thread(target=module.run)
    thread.start()
    try:
        assert hub.reported.wait(20)
        then()
    finally:
        module.end()
        thread.join(20)
    return module


def test_an_image_that_is_not_here_yet_is_waited_for() -> None:
    """The old container does not carry out what the new one brings: the agent will start it."""
    desired = {"schema": SCHEMA, "consignment": "c", "image": "image-2", "issued": 5, "$version": 7}
    hub, board = PlayedHub(desired), PlayedBoard()
    hub.reported.set()
    run(hub, board, lambda: hub.on_method(SimpleNamespace(name="status", payload={})))

    assert "activate" not in board.asked


def test_a_board_that_was_sent_back_holds() -> None:
    """What was issued before the board was sent back is answered with `held`, and not begun."""
    desired = {"schema": SCHEMA, "consignment": "c", "image": "image-1", "issued": 5, "$version": 7}
    hub, board = PlayedHub(desired), PlayedBoard()
    board.floor = 5  # type: ignore[misc]
    run(hub, board)

    assert ("held", 7) == (hub.reports[0]["state"], hub.reports[0]["answered"])
    assert "activate" not in board.asked


def test_methods_are_the_verbs_of_the_protocol() -> None:
    """Each method asks its verb; an unknown one is 404 with those there are; `revert` is remembered."""
    hub, board = PlayedHub({}), PlayedBoard()

    def call() -> None:
        for name in ("smoke", "revert", "explode"):
            hub.on_method(SimpleNamespace(name=name, payload={}))

    run(hub, board, call)
    assert [("smoke", 200), ("revert", 200), ("explode", 404)] == [each[:2] for each in hub.answers]
    assert {"probe", "revert"} <= set(board.asked)
    assert "confirm, history, logs" in hub.answers[2][2]["error"]
    assert [0] == board.held


def test_a_hub_that_is_away_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service is started before anybody connects, and the module does not die of a hub that is away."""
    import fleetctl.device.edge_module as program

    monkeypatch.setattr(program, "_RETRY_S", 0.05)
    hub, board = PlayedHub({}, absent=3), PlayedBoard()
    run(hub, board)

    assert ("recover", 0) == (board.asked[0], hub.absent)


def test_pictures_are_answered_on_the_output() -> None:
    """A picture on the input goes to the board's service, and its answer, good or bad, to the output."""

    class Service(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            picture = self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps(
                {"label": "G17"} if picture == b"a picture" else {"error": "no picture"}
            ).encode()
            self.send_response(200 if picture == b"a picture" else 400)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        seen = {"config": {"port": server.server_port}}
        try:
            assert {"label": "G17"} == json.loads(predicted(seen, b"a picture"))
            assert {"error": "no picture"} == json.loads(predicted(seen, b"?"))
        finally:
            server.shutdown()
            thread.join()
    assert "error" in json.loads(predicted(seen, b"a picture"))
    assert {"error": "this board serves nothing yet"} == json.loads(predicted({}, b"a picture"))


def test_health_is_that_of_the_service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A container without a release is healthy; one whose service does not answer is not."""
    from fleetctl.device.edge_health import main

    assert 0 == main(["--root", str(tmp_path)])
    config = tmp_path / "current" / "config"
    config.mkdir(parents=True)
    (config / "serve.json").write_text('{"port": 9}')
    assert 1 == main(["--root", str(tmp_path)])
    assert "does not answer" in capsys.readouterr().out
    assert 2 == main([])
