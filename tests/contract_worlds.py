"""Fleets that the contract suite runs against: one for each transport, all with the same few things to do.

A transport joins the suite by a class with the methods of `World`.
"""

import _thread
import io
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from msgspec.structs import replace

from fleetctl.artifact import Artifact, BlobRef, Contract, GoldenAnswer, Tensor
from fleetctl.lab import control
from fleetctl.lab.overlay import reached_as
from fleetctl.lab.state import LabFiles, Wanted
from fleetctl.manifest.schema import Board, BoardKind, ServiceManager, Smoke, VariantName
from fleetctl.render.renderer import Renderer
from fleetctl.store import BlobStore
from fleetctl.transports.ansible import AnsibleTransport
from fleetctl.transports.base import Order, Reply, Transport
from fleetctl.transports.fake import FakeTransport
from fleetctl.transports.faults import Faults
from fleetctl.transports.ssh import SshReader

REPOSITORY = Path(__file__).resolve().parents[1]
CASES = REPOSITORY / "tests" / "cases" / "device"
LABELS = ("top-left", "top-right", "bottom-left", "bottom-right")
SIDE = 16
DEADLINE = 60.0
CONFIRM_TIMEOUT = 6.0


class World(Protocol):
    """Boards of one kind, and the transport that reaches them."""

    @property
    def transport(self) -> Transport: ...

    def boards(self, count: int) -> list[Board]:
        """Boards that nobody has released to."""

    def bad_order(self, releases: "Releases", board: Board) -> Order:
        """An order for a release whose answers the board gets wrong."""

    def cut_power(self, board: Board) -> None: ...

    def distrust(self, board: Board) -> Transport:
        """The transport with a record of host keys that does not hold the board's."""

    def mistrust(self, board: Board) -> Transport:
        """The transport with a record of host keys that holds another key for the board."""

    def interrupted(self, order: Order) -> None:
        """Begin to carry out an order, and be interrupted between the swap and the confirmation."""

    def pass_time(self, seconds: float) -> None: ...


class Releases:
    """Orders for a model of 1.7 kB that finds the brightest quadrant of a picture, and is always right."""

    def __init__(self, store: BlobStore) -> None:
        self.store = store
        self._renderer = Renderer.of(REPOSITORY / "inventory" / "templates")

    def order(self, board: Board, *, threshold: float = 0.5, is_good: bool = True) -> Order:
        """An order; with `is_good` false its contract asks for answers that the model does not give."""
        board = replace(board, config={"threshold": threshold})
        release = self._renderer.keep(
            board, self.artifact(is_good=is_good), Smoke(samples=len(LABELS)), self.store
        )
        return Order(board, release, self.store.root, "c0ffee", CONFIRM_TIMEOUT, DEADLINE)

    def artifact(self, *, is_good: bool = True) -> Artifact:
        """The model with its contract, in the store."""
        expected = LABELS if is_good else LABELS[::-1]
        contract = Contract(
            model="quadrants",
            variant="int8",
            task="classification",
            labels=LABELS,
            preprocess={"shape": [SIDE, SIDE, 1], "fit": "cover"},
            input=Tensor((1, SIDE, SIDE, 1), "uint8", 1.0, 0),
            output=Tensor((1, len(LABELS)), "uint8", 1 / 255, 0),
            golden=tuple(GoldenAnswer(label, 1.0) for label in expected),
            score_tolerance=0.07,
        )
        files = {
            "model.tflite": (CASES / "quadrants.tflite").read_bytes(),
            "contract.json": contract.to_json(),
            "golden.npy": golden_pictures(),
        }
        return Artifact("quadrants", "int8", {name: self._keep(data) for name, data in files.items()})

    def _keep(self, data: bytes) -> BlobRef:
        return BlobRef(self.store.put(data), len(data))


def golden_pictures() -> bytes:
    """uint8 (4, 16, 16): one picture a quadrant, white there and black elsewhere."""
    pictures = np.zeros((len(LABELS), SIDE, SIDE), np.uint8)
    half = SIDE // 2
    for index in range(len(LABELS)):
        top, left = half * (index // 2), half * (index % 2)
        pictures[index, top : top + half, left : left + half] = 255
    stream = io.BytesIO()
    np.save(stream, pictures)
    return stream.getvalue()


class FakeWorld:
    """Simulated boards, with a clock that tests move."""

    def __init__(self, folder: Path) -> None:
        self.now = 1_700_000_000.0
        self.faults: dict[str, dict[str, Any]] = {}
        self._fake = FakeTransport(folder / "fake", Faults(self.faults), lambda: self.now)
        self.transport: Transport = self._fake
        self._numbers = itertools.count(1)

    def boards(self, count: int) -> list[Board]:
        return [generic_board(f"fake-{next(self._numbers):02d}") for _ in range(count)]

    def bad_order(self, releases: Releases, board: Board) -> Order:
        self.faults[board.name] = {"bad_answers": 1.0}
        return releases.order(board, is_good=False)

    def cut_power(self, board: Board) -> None:
        self.faults[board.name] = {"unreachable": True}

    def entrust(self, board: Board, trust: dict[str, Any]) -> None:
        self._fake.entrust(board, trust)

    def distrust(self, board: Board) -> Transport:
        return replace(self._fake, faults=Faults({board.name: {"refused": True}}))

    mistrust = distrust

    def interrupted(self, order: Order) -> None:
        dying = replace(self._fake, faults=Faults({order.board.name: {"dies_after_activate": True}}))
        (reply,) = dying.release([order])
        assert not reply.ok

    def pass_time(self, seconds: float) -> None:
        self.now += seconds


class LabWorld:
    """Real boards' software behind real ssh, on loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = LabFiles(folder / "lab")
        self.ansible = self._transport(self.files.known_hosts)
        self.transport: Transport = self.ansible
        self._numbers = itertools.count(1)

    def boards(self, count: int) -> list[Board]:
        names = [f"lab-{next(self._numbers):02d}" for _ in range(count)]
        state = control.up(self.files, [Wanted(name) for name in names]).state
        return [reached_as(generic_board(name), state.boards[name]) for name in names]

    def bad_order(self, releases: Releases, board: Board) -> Order:
        return releases.order(board, is_good=False)

    def cut_power(self, board: Board) -> None:
        control.switch(self.files, [board.name], online=False)

    def distrust(self, board: Board) -> Transport:
        return self._transport_knowing(lambda line: _address(board) not in line)

    def mistrust(self, board: Board) -> Transport:
        others = (line for line in self._known() if _address(board) not in line)
        another = next(others).split(" ", 1)[1]
        path = self.folder / f"known_hosts.{board.name}"
        path.write_text(f"{_address(board)} {another}")
        return self._transport(path)

    def interrupted(self, order: Order) -> None:
        begun = Path(order.board.root) / "state" / "pending.json"
        with interrupt_once(begun.exists):
            list(self.transport.release([order]))

    def pass_time(self, seconds: float) -> None:
        time.sleep(seconds)

    def retire(self) -> None:
        """Switch every board off: a test's services are not the next one's business."""
        state = control.status(self.files)
        if state is not None:
            control.switch(self.files, list(state.boards), online=False)

    def _transport_knowing(self, is_known: Any) -> Transport:
        path = self.folder / "known_hosts.some"
        path.write_text("".join(line for line in self._known() if is_known(line)))
        return self._transport(path)

    def _known(self) -> list[str]:
        return self.files.known_hosts.read_text().splitlines(keepends=True)

    def _transport(self, known_hosts: Path) -> AnsibleTransport:
        reader = SshReader(known_hosts, self.files.identity)
        return AnsibleTransport(reader, known_hosts, self.files.identity)


class interrupt_once:
    """Press Ctrl-C as soon as `is_time()`, and expect to see it."""

    def __init__(self, is_time: Any) -> None:
        self._is_time = is_time
        self._thread = threading.Thread(target=self._press, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self._thread.join()
        assert kind is KeyboardInterrupt, f"not interrupted: {kind}"
        return True

    def _press(self) -> None:
        give_up = time.monotonic() + DEADLINE
        while not self._is_time():
            assert time.monotonic() < give_up
            time.sleep(0.005)
        _thread.interrupt_main()


def generic_board(name: str) -> Board:
    return Board(
        name=name,
        board=BoardKind.GENERIC,
        model="quadrants",
        variant=VariantName.INT8,
        host="192.0.2.1",
        service=ServiceManager.PROCESS,
    )


def _address(board: Board) -> str:
    return f"[{board.host}]:{board.port}"


def by_board(replies: Iterator[Reply]) -> dict[str, Reply]:
    """Replies by board; two for one board fail the test."""
    found: dict[str, Reply] = {}
    for reply in replies:
        assert reply.board not in found, f"{reply.board} replied twice"
        found[reply.board] = reply
    return found


def settled(world: World, board: Board) -> dict[str, Any]:
    """What a board runs once nothing is on probation any more; a busy machine may take its time."""
    give_up = time.monotonic() + DEADLINE
    while (seen := observed(world, board))["pending"] is not None:
        assert time.monotonic() < give_up, seen
        time.sleep(0.2)
    return seen


def observed(world: World, board: Board) -> dict[str, Any]:
    """What a board runs now."""
    reply = by_board(world.transport.observe([board], deadline=DEADLINE))[board.name]
    assert reply.ok, reply.error
    return dict(reply.data)
