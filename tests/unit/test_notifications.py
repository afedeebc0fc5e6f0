"""Notifications: what is told, signed, tried again, told once; and that boards never wait for it."""

import hashlib
import hmac
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from quadrant_fleet import QuadrantFleet

from fleetctl import events
from fleetctl.children import WEBHOOK as ADDRESS
from fleetctl.children import WEBHOOK_SECRET as SECRET
from fleetctl.children import environment
from fleetctl.errors import UsageError
from fleetctl.manifest.schema import Board, BoardKind, VariantName
from fleetctl.notifications import Notification, Occasion, RolloutTeller, ailments, changes
from fleetctl.observation import Health, Loaded, Observed
from fleetctl.status import assess
from fleetctl.webhook import Notifier, Webhook, send

POISON = "poison-4c1d9b"


@dataclass
class Receiver:
    """An HTTP server on loopback that answers as it is told and keeps what it gets."""

    answers: list[int] = field(default_factory=list)  # of the next requests; then 200
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook/{POISON}"

    @property
    def webhook(self) -> Webhook:
        return Webhook(self.address, POISON)

    @property
    def told(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    known = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            known.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            status = known.answers.pop(0) if known.answers else 200
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Retry-After", "7")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        known.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield known
        server.shutdown()
        thread.join()


PAUSED = Notification(Occasion.GATE_PAUSED, "unas", "2", "unas: gate of wave 2: pause", {"wave": 2})


def test_what_is_told_of_a_rollout() -> None:
    """Gates and the end, each under its own name; a wave that begins is nobody's concern."""
    teller = RolloutTeller("unas", "c0ffee", "d" * 64, "now")
    happened: list[events.Event] = [
        events.WaveStarted(1, "canary", ("a",)),
        events.GateDecided(1, "open", "1 board verified"),
        events.GateDecided(2, "pause", "1 board could not be judged"),
        events.GateDecided(3, "fail", "1 board failed"),
        events.RolloutFinished("failed", {"rolled_back": 2}),
        events.RolloutFinished("done", {}),
    ]
    told = [teller.tell(event) for event in happened]

    assert [None, "wave-done", "gate-paused", "gate-failed", "rollout-finished", None] == [
        each and each.occasion.value for each in told
    ]
    assert told[4]
    assert "unas: rollout failed: 2 rolled back" == told[4].text


def test_what_is_told_of_boards() -> None:
    """Who fell ill, who has something else, who recovered; not who is as before, nor who was not asked."""
    before = {"a": "wrong: x", "b": "offline: y", "c": "wrong: z", "d": "wrong: w"}
    now = {"a": "wrong: x", "b": "wrong: q", "e": "strained: hot"}
    told = changes("unas", before, now, ["a", "b", "c", "e"], "now")

    assert [("board-unhealthy", "b"), ("board-unhealthy", "e"), ("board-recovered", "c")] == [
        (each.occasion.value, each.subject) for each in told
    ]


def test_how_much_of_it_a_board_has_is_no_news() -> None:
    """A board that stays hot is told of once, not at each degree; what else it has then is news."""
    before = {"a": "strained: hot: 83 C", "b": "strained: hot: 83 C", "c": "offline: no answer in 30.5 s"}
    now = {
        "a": "strained: hot: 84 C",
        "b": "strained: throttled; hot: 84 C",
        "c": "offline: no answer in 31 s",
    }

    assert ["b"] == [each.subject for each in changes("unas", before, now, ["a", "b", "c"], "now")]


def test_a_board_around_the_limit_is_told_of_once() -> None:
    """Once hot, it is hot until it has cooled well down, whatever else it has meanwhile; warm is not hot."""
    board = Board("luxor-01", BoardKind.RASPBERRYPI4, "reader", VariantName.INT8, host="h")
    loaded = Loaded(release="a" * 64, accelerator="cpu")
    well = Observed(board.name, current="a" * 64, good="a" * 64, service="running", loaded=loaded)
    known: dict[str, str] = {}
    told = []
    for degrees, throttled in [
        (79, False),
        (81, False),
        (79, False),
        (80.5, True),
        (76, True),
        (74, False),
        (79, False),
    ]:
        seen = replace(well, health=Health(temperature_c=float(degrees), throttled=throttled))
        now = ailments([assess(board, "a" * 64, seen)], known)
        told += [(degrees, each.occasion.value) for each in changes("unas", known, now, [board.name], "now")]
        known = now

    assert [(81, "board-unhealthy"), (80.5, "board-unhealthy"), (74, "board-recovered")] == told


def test_a_receiver_can_tell_who_wrote(receiver: Receiver) -> None:
    """The signature is over time and body; another secret, body or time gives another."""
    assert "" == send(receiver.webhook, PAUSED)
    headers, body = receiver.got[0]
    signed = f"{headers['x-fleetctl-timestamp']}.".encode() + body

    assert PAUSED.to_json() == json.loads(body)
    assert PAUSED.key == headers["x-fleetctl-delivery"] == json.loads(body)["id"]
    expected = hmac.new(POISON.encode(), signed, hashlib.sha256).hexdigest()
    assert f"sha256={expected}" == headers["x-fleetctl-signature-256"]


@pytest.mark.parametrize(
    ("answers", "tries", "failure"),
    [
        ([500, 429], 3, ""),
        ([503] * 9, 4, "the receiver answered 503"),
        ([401], 1, "the receiver answered 401"),
        ([302], 1, "the receiver answered 302"),
    ],
)
def test_trying_again(receiver: Receiver, answers: list[int], tries: int, failure: str) -> None:
    """What may pass is tried again as late as the receiver asks; what will not is not, nor is it followed."""
    receiver.answers = answers
    slept: list[float] = []

    assert failure == send(receiver.webhook, PAUSED, slept.append)
    assert tries == len(receiver.got)
    assert 7.0 * (tries - 1 if not failure or tries > 1 else 0) <= sum(s for s in slept if s == 7.0) + 7.0


def test_programs_that_are_started_know_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither address nor secret is in the environment of a child."""
    monkeypatch.setenv(ADDRESS, "https://hooks.example/")
    monkeypatch.setenv(SECRET, POISON)

    assert not {ADDRESS, SECRET} & environment().keys()


def test_nobody_listens(receiver: Receiver) -> None:
    """A receiver that is gone is a failure in words, without the address."""
    gone = Webhook(f"http://127.0.0.1:1/{POISON}", POISON)
    failure = send(gone, PAUSED, lambda _: None)

    assert failure.startswith("the receiver cannot be reached: ")
    assert POISON not in failure + repr(gone)
    assert [] == receiver.got


def test_told_once(receiver: Receiver, tmp_path: Path) -> None:
    """What was delivered is not sent again, by this notifier or the next; what failed is."""
    warned: list[str] = []
    receiver.answers = [400]
    for _ in range(3):
        with Notifier(receiver.webhook, tmp_path / "memory", warned.append) as notifier:
            notifier.tell(PAUSED)
            notifier.tell(PAUSED)

    assert 2 == len(receiver.got)
    assert ["gate-paused was not delivered: the receiver answered 400"] == warned


def test_a_board_that_nobody_was_told_of_is_told_again(receiver: Receiver, tmp_path: Path) -> None:
    """Only what reached the receiver is remembered of boards; a spoilt memory is an empty one."""
    (tmp_path / "memory").write_text("[1")
    for answer, expected in ((400, {}), (200, {"b": "wrong: x"})):
        receiver.answers = [answer]
        notifier = Notifier(receiver.webhook, tmp_path / "memory", lambda _: None)
        with notifier:
            for each in changes("unas", notifier.ailments, {"b": "wrong: x"}, ["b"], "now"):
                notifier.tell(each)
        notifier.remember({"b": "wrong: x"})
        assert expected == Notifier(receiver.webhook, tmp_path / "memory", print).ailments


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({ADDRESS: "http://hooks.example/", SECRET: "s"}, "is no https address"),
        ({ADDRESS: "file:///etc/passwd", SECRET: "s"}, "is no https address"),
        ({ADDRESS: "https://", SECRET: "s"}, "is no https address"),
        ({ADDRESS: "https://hooks.example/"}, "is not set"),
    ],
)
def test_addresses_that_are_refused(environment: dict[str, str], says: str) -> None:
    """In the clear, to a file, to nowhere, or unsigned: nothing is sent at all."""
    with pytest.raises(UsageError, match=says):
        Webhook.of(environment)
    assert Webhook.of({}) is None


def run(fleet: QuadrantFleet, receiver: Receiver, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "fleetctl", *arguments],
        cwd=fleet.root,
        env={**os.environ, "FLEETCTL_TRANSPORT": "fake", ADDRESS: receiver.address, SECRET: POISON},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_verbs_tell(receiver: Receiver, tmp_path: Path) -> None:
    """A rollout tells of its gates and its end; status tells of a board that falls ill, once, and of its
    recovery; the secret and the address turn up nowhere."""
    fleet = QuadrantFleet.make(tmp_path / "fleet")
    (fleet.root / "faults.yaml").write_text("luxor-02: {unreachable: true}\n")
    said = [run(fleet, receiver, "rollout", "--yes")]
    assert ["wave-done", "wave-done", "rollout-finished"] == [each["occasion"] for each in receiver.told]
    receiver.got.clear()
    said += [run(fleet, receiver, "status", "--notify", "--faults", "faults.yaml") for _ in range(2)]
    said += [run(fleet, receiver, "status", "--notify")]

    assert [("board-unhealthy", "luxor-02"), ("board-recovered", "luxor-02")] == [
        (each["occasion"], each["subject"]) for each in receiver.told
    ]
    assert [0, 1, 1, 0] == [each.returncode for each in said]
    kept = [p.read_bytes() for p in fleet.root.rglob("*") if p.is_file() and ".git" not in p.parts]
    assert not any(POISON in text for each in said for text in (each.stdout, each.stderr))
    assert not any(POISON.encode() in data for data in kept)


def test_a_rollout_that_fails_again_is_told_of_again(receiver: Receiver, tmp_path: Path) -> None:
    """The same commit, plan and reason, another attempt: whoever tries again is to hear how it ended."""
    fleet = QuadrantFleet.make(tmp_path / "fleet")
    (fleet.root / "faults.yaml").write_text("luxor-01: {bad_answers: 1.0}\n")
    for _ in range(3):
        assert 40 == run(fleet, receiver, "rollout", "--yes", "--faults", "faults.yaml").returncode

    assert ["gate-failed", "rollout-finished"] * 3 == [each["occasion"] for each in receiver.told]
    assert 6 == len({each["id"] for each in receiver.told})


def test_a_receiver_that_fails_changes_nothing(receiver: Receiver, tmp_path: Path) -> None:
    """The rollout ends as it would have; what was not delivered is a warning."""
    fleet = QuadrantFleet.make(tmp_path / "fleet")
    receiver.answers = [400] * 9
    done = run(fleet, receiver, "rollout", "--yes")

    assert 0 == done.returncode
    assert "! wave-done was not delivered: the receiver answered 400" in done.stderr
