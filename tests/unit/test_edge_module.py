"""The module's main program with a hub that tests play: what it follows, answers, and sits out."""

import json
import queue
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from fleetctl.device.edge_client import METHOD_LIMIT
from fleetctl.device.edge_module import EdgeModule, predicted
from fleetctl.device.edge_report import SCHEMA, unpack
from fleetctl.transports.iothub_twin import PROPERTIES_LIMIT, merged, twin_size


class PlayedHub:
    """A hub for one module; `absent` is how many connections fail first, and `turned_away` says which calls
    of a kind do, by number: a hub that is busy, and whose SDK does not try again."""

    def __init__(
        self, desired: dict[str, Any], absent: int = 0, turned_away: Mapping[str, set[int]] | None = None
    ) -> None:
        self.desired = desired
        self.reported_twin: dict[str, Any] = {}
        self.absent = absent
        self.is_connected = True
        self.turned_away = turned_away or {}
        self.calls: Counter[str] = Counter()
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
        self._called("twin")
        return {"desired": self.desired, "reported": self.reported_twin}

    def report(self, patch: dict[str, Any]) -> None:
        self._called("report")
        found = merged(self.reported_twin, patch)
        if twin_size(found) > PROPERTIES_LIMIT:
            raise RuntimeError("413: the twin is too large")
        self.reported_twin = found
        self.reports.append(patch["fleetctl"])
        self.reported.set()

    def _called(self, what: str) -> None:
        self.calls[what] += 1
        if self.calls[what] in self.turned_away.get(what, ()):
            raise RuntimeError("429: too many calls")

    def answer(self, request: Any, status: int, payload: dict[str, Any]) -> None:
        self.answers.append((request.name, status, payload))

    def send(self, payload: bytes, output: str) -> None:
        self.sent.append((payload, output))

    def close(self) -> None: ...


class PlayedBoard:
    """A board that says `ok` to everything and remembers what it was asked; `receipt` is its proof."""

    floor = 0

    def __init__(self, receipt: Mapping[str, Any] | None = None) -> None:
        self.asked: list[str] = []
        self.held: list[int] = []
        self.receipt = dict(receipt or {}, outcome="passed")

    def ask(self, verb: str, request: Any, payload: bytes = b"") -> dict[str, Any]:
        del request, payload
        self.asked.append(verb)
        match verb:
            case "missing":
                return {"ok": True, "missing": []}
            case "activate":
                return {"ok": True, "state": "pending", "receipt": self.receipt}
            case "confirm":
                return {"ok": True, "state": "confirmed", "current": "r"}
            case "observe":
                return {"ok": True, "current": "r", "receipt": self.receipt}
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


def eventually(is_so: Callable[[], bool], patience: float = 20.0) -> None:
    give_up = time.monotonic() + patience
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.01)


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


def test_a_long_history_is_told_from_its_end() -> None:
    """A direct method holds 128 KiB, a board's record a MiB: the last receipts go, without golden answers."""
    hub = PlayedHub({})

    class Old(PlayedBoard):
        def ask(self, verb: str, request: Any, payload: bytes = b"") -> dict[str, Any]:
            said = super().ask(verb, request, payload)
            receipt = {"commit": "c" * 1000, "answers": ["G17"] * 1000}
            receipts = [{**receipt, "number": number} for number in range(200)]
            return said | {"receipts": receipts} if verb == "history" else said

    run(hub, Old(), lambda: hub.on_method(SimpleNamespace(name="history", payload={"last": 1000})))
    ((_, status, reply),) = hub.answers
    numbers = [receipt["number"] for receipt in reply["receipts"]]

    assert 200 == status
    assert len(json.dumps(reply)) <= METHOD_LIMIT
    assert len(numbers) > 100
    assert list(range(200))[-len(numbers) :] == numbers


def test_a_hub_that_is_away_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service is started before anybody connects, and the module does not die of a hub that is away."""
    import fleetctl.device.edge_module as program

    monkeypatch.setattr(program, "_RETRY_S", 0.05)
    hub, board = PlayedHub({}, absent=3), PlayedBoard()
    run(hub, board)

    assert ("recover", 0) == (board.asked[0], hub.absent)


def test_a_module_may_be_told_to_end_at_any_instant() -> None:
    """SIGTERM comes to the very thread that waits for news, also while it holds a lock for that."""
    hub = PlayedHub({})
    carrier: Any = SimpleNamespace(digest="image-1", files={})
    module = EdgeModule(hub, carrier, PlayedBoard(), "luxor-01")  # type: ignore[arg-type]

    def end_within(frame: FrameType, *_: Any) -> Any:
        if frame.f_code.co_filename == queue.__file__ and frame.f_code.co_name in ("put", "get"):
            module.end()
        return end_within

    def work() -> None:
        sys.settrace(end_within)
        module.run()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert hub.reported.wait(20)
    module.end()
    thread.join(20)
    assert not thread.is_alive()


RELEASE = {
    "schema": SCHEMA,
    "consignment": "c",
    "image": "image-1",
    "issued": 5,
    "$version": 7,
    "texts": {},
}


def test_a_board_remembers_what_it_follows_when_its_module_starts_anew() -> None:
    """Sent back, it holds until something later is issued, and begins nothing again that it was to leave."""
    hub, board = PlayedHub(RELEASE), PlayedBoard()
    hub.reported_twin = {"fleetctl": {"answered": 7, "consignment": "c", "state": "confirmed"}}
    run(hub, board, lambda: hub.on_method(SimpleNamespace(name="revert", payload={})))

    assert "activate" not in board.asked
    assert [5] == board.held


@pytest.mark.parametrize(("is_ok", "held"), [(True, [5]), (False, [5, 3])])
def test_a_board_holds_before_it_goes_back(is_ok: bool, held: list[int]) -> None:
    """Where its container ends in between, the next one moves it no more; a board that stays is not held."""

    class GoingBack(PlayedBoard):
        floor = 3

        def ask(self, verb: str, request: Any, payload: bytes = b"") -> dict[str, Any]:
            if verb == "revert":
                assert self.held == [5]
                return {"ok": is_ok, "state": "reverted", "error": "nothing before"}
            return super().ask(verb, request, payload)

    hub, board = PlayedHub(RELEASE), GoingBack()
    hub.reported_twin = {"fleetctl": {"answered": 7, "consignment": "c", "state": "confirmed"}}
    run(hub, board, lambda: hub.on_method(SimpleNamespace(name="revert", payload={})))

    assert [("revert", 200)] == [answer[:2] for answer in hub.answers]
    assert held == board.held


@pytest.mark.parametrize(
    "turned_away",
    [
        {},
        {"twin": {1}},
        {"report": {1}},  # of the proof
        {"report": {2}},  # of the confirmation
        {"twin": {1, 2, 3}, "report": {1, 3}},
        {"report": {1, 2, 3, 4}},  # longer than a proof waits
    ],
)
def test_a_hub_that_is_busy_hears_of_a_release_all_the_same(
    turned_away: dict[str, set[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twin calls that are turned away are made again, so that no order and no proof is lost."""
    monkeypatch.setattr("fleetctl.device.edge_module._RETRY_S", 0.02)
    monkeypatch.setattr("fleetctl.device.edge_twin._BUSY_WAITS_S", (0.01, 0.01, 0.01))
    hub, board = PlayedHub(RELEASE, turned_away=turned_away), PlayedBoard()

    def said() -> dict[str, Any]:
        found: dict[str, Any] = hub.reported_twin.get("fleetctl", {})
        return found

    run(hub, board, lambda: eventually(lambda: said().get("answered") == 7))

    assert ("confirmed", "confirmed") == (said()["state"], unpack(said()["reply"])["state"])
    assert "confirm" in board.asked


def test_an_order_that_cannot_be_followed_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each try may start the service anew; after a few the module waits for news."""
    monkeypatch.setattr("fleetctl.device.edge_module._RETRY_S", 0.001)
    monkeypatch.setattr("fleetctl.device.edge_module._OBSERVE_EVERY_S", 0.01)
    monkeypatch.setattr("fleetctl.device.edge_twin._SAME_AGAIN_S", 0.0)
    hub, board = PlayedHub(RELEASE, turned_away={"twin": set(range(1, 100))}), PlayedBoard()
    run(hub, board, lambda: eventually(lambda: len(hub.reports) > 3))

    assert 7 == hub.calls["twin"]


def test_a_board_tells_what_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each report counts against what the hub takes in a day: time, load and warmth alone are not worth one
    while the hub is there, and what the board runs, or that it is throttled, is told at the next look."""
    looks = iter(range(1, 1000))

    class Restless(PlayedBoard):
        current, throttled = "r", False

        def ask(self, verb: str, request: Any, payload: bytes = b"") -> dict[str, Any]:
            said = super().ask(verb, request, payload)
            look = next(looks)
            health = {"load1": look, "throttled": self.throttled}
            return said | {"current": self.current, "time": look, "health": health}

    monkeypatch.setattr("fleetctl.device.edge_module._OBSERVE_EVERY_S", 0.001)
    hub, board = PlayedHub({}), Restless()

    def looked(times: int) -> None:
        before = len(board.asked)
        eventually(lambda: len(board.asked) >= before + times)

    def change() -> None:
        looked(5)
        assert 1 == len(hub.reports)
        board.current = "s"
        looked(5)
        board.throttled = True
        looked(5)
        assert 3 == len(hub.reports)
        hub.is_connected = False  # whatever is told connects it again
        looked(5)

    run(hub, board, change)

    assert len(hub.reports) > 4
    assert ["r", "s", "s", "s"] == [unpack(report["observation"])["current"] for report in hub.reports[:4]]


def test_pictures_that_come_all_the_time_put_nothing_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A board that is asked without a pause is looked at, and tries again, as one that is left alone."""
    monkeypatch.setattr("fleetctl.device.edge_module._RETRY_S", 0.01)
    monkeypatch.setattr("fleetctl.device.edge_module._OBSERVE_EVERY_S", 0.05)
    monkeypatch.setattr("fleetctl.device.edge_twin._SAME_AGAIN_S", 0.0)
    hub, board = PlayedHub(RELEASE, turned_away={"twin": {1, 2}}), PlayedBoard()
    hub.reported.set()

    def flood() -> None:
        def is_told() -> bool:
            for _ in range(20):
                hub.on_method(SimpleNamespace(name="status", payload={}))
            return len(hub.reports) > 4

        eventually(is_told)

    run(hub, board, flood)

    assert "activate" in board.asked


def noise(samples: int) -> dict[str, Any]:
    rng = random.Random(0)
    return {"answers": [{"label": f"{rng.random()}", "score": rng.random()} for _ in range(samples)]}


@pytest.mark.parametrize(("samples", "state"), [(100, "confirmed"), (400, "confirmed"), (800, "too-large")])
def test_a_release_is_kept_only_if_its_proof_is_in_the_hub(samples: int, state: str) -> None:
    """What a board observes makes room for the proof; a proof that no twin holds has the board go back."""
    hub, board = PlayedHub(RELEASE), PlayedBoard(noise(samples))
    run(hub, board, lambda: eventually(lambda: hub.reported_twin["fleetctl"].get("answered") == 7))
    said = hub.reported_twin["fleetctl"]

    assert state == said["state"]
    assert (state == "confirmed") == ("confirm" in board.asked) != ("revert" in board.asked)
    assert "r" == unpack(said["observation"])["current"]


def test_a_board_that_went_back_over_a_slow_hub_is_said_to_have() -> None:
    """Its probation had ended before its proof was in the hub: it is back where it was, and why is told."""
    why = "nobody confirmed the release in time"

    class Impatient(PlayedBoard):
        def ask(self, verb: str, request: Any, payload: bytes = b"") -> dict[str, Any]:
            said = super().ask(verb, request, payload)
            if verb == "confirm":
                return {"ok": False, "code": "not-pending", "error": "it is not waiting to be confirmed"}
            return said | {"current": "before", "receipt": {"reasons": [why]}} if verb == "revert" else said

    hub = PlayedHub(RELEASE)
    run(hub, Impatient(), lambda: eventually(lambda: hub.reported_twin["fleetctl"].get("answered") == 7))
    reply = unpack(hub.reported_twin["fleetctl"]["reply"])

    assert ("reverted", "before") == (reply["state"], reply["current"])
    assert ("reverted", [why]) == (reply["receipt"]["state"], reply["receipt"]["reasons"])


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
