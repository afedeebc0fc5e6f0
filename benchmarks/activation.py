"""How long a board takes to change its release: verify, stage, swap, restart, load, prove sixteen samples.

That is the verb `activate` as the board runs it, from its request to its reply, then confirmed; the way to
the board is left out. Each round brings another config. The model is as large as the usual reader. A docker
board has systemd, and its arm64 is emulated by QEMU: a Raspberry Pi is several times as fast.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from docker_boards import client_of_engine, container_of
from msgspec.structs import replace

from benchmarks import unlearnt
from benchmarks.docker_world import FIRST, fit_board
from benchmarks.harness import NotMeasured, Result, part
from fleetctl.artifact import Artifact
from fleetctl.device import runtime
from fleetctl.lab.ports import free_ports
from fleetctl.manifest.schema import Board, BoardKind, ServiceManager, Smoke, VariantName
from fleetctl.render.renderer import Renderer
from fleetctl.render.sources import board_runtime, packaged_templates
from fleetctl.store import BlobStore
from fleetctl.transports import board_script, wire
from fleetctl.transports.base import Order
from fleetctl.transports.dialogue import release_to

ROUNDS = 5
PATIENCE = 300.0  # seconds a board has: emulation is slow
BOARD = Board(FIRST, BoardKind.GENERIC, "unlearnt", VariantName.INT8)
DOCKER = {"amd64": "docker board with systemd, amd64", "arm64": "docker board with systemd, arm64 emulated"}


def measure() -> Iterator[Result]:
    try:
        runtime._runtime_module()
    except runtime.RuntimeRefused as reason:
        raise NotMeasured(str(reason)) from None
    with tempfile.TemporaryDirectory(prefix="fleetctl-bench-") as name:
        folder = Path(name)
        store, artifact = unlearnt.keep(folder)
        yield from _stated("process on this machine", _here(folder, store, artifact))
        for architecture, label in DOCKER.items():
            at = folder / architecture
            yield from part(label, partial(_on_docker, label, at, architecture, store, artifact))


def _stated(label: str, seconds: Sequence[float]) -> Iterator[Result]:
    yield Result(f"{label}, first", round(seconds[0], 2), "s")
    yield Result(f"{label}, another config", round(statistics.median(seconds[1:]), 2), "s")


def _on_docker(
    label: str, folder: Path, architecture: str, store: BlobStore, artifact: Artifact
) -> Iterator[Result]:
    yield from _stated(label, _docker(folder, architecture, store, artifact))


def _here(folder: Path, store: BlobStore, artifact: Artifact) -> list[float]:
    root = folder / "board"
    port = next(free_ports(folder, ()))
    board = replace(
        BOARD,
        python=sys.executable,
        root=str(root),
        serve_port=port,
        service=ServiceManager.PROCESS,
    )
    try:
        return _rounds([], board, store, artifact)
    finally:
        pid = root / "state" / "serve.pid"
        if pid.exists():
            subprocess.run(["kill", pid.read_text().split()[0]], check=False)


def _docker(folder: Path, architecture: str, store: BlobStore, artifact: Artifact) -> list[float]:
    with fit_board(folder, architecture) as fleet, client_of_engine() as client:
        container = container_of(client, fleet, BOARD.name).id
        return _rounds(["docker", "exec", "-i", container], BOARD, store, artifact)


def _rounds(prefix: list[str], board: Board, store: BlobStore, artifact: Artifact) -> list[float]:
    """Seconds of `activate` in each round, first on a board that has nothing."""
    renderer = Renderer(packaged_templates(), board_runtime())
    taken: list[float] = []
    for number in range(ROUNDS + 1):
        wanted = replace(board, config={"threshold": number / 100})
        release = renderer.keep(wanted, artifact, Smoke(samples=unlearnt.SAMPLES), store)
        order = Order(wanted, release, store.root, "c0ffee", confirm_timeout=PATIENCE, deadline=PATIENCE)
        reply = release_to(order, _asking(prefix, board.root, taken))
        assert reply.get("state") == "confirmed", reply
    assert len(taken) == ROUNDS + 1, taken
    return taken


def _asking(prefix: list[str], root: str, taken: list[float]) -> Callable[..., Mapping[str, Any]]:
    """Runs verbs on a board, and notes what `activate` took."""
    script = board_script.whole()

    def ask(verb: str, request: Mapping[str, Any], payload: bytes = b"") -> Mapping[str, Any]:
        argv = [*prefix, *wire.command(verb, root, script)]
        begun = time.perf_counter()
        done = subprocess.run(
            argv, input=wire.standard_input(script, request, payload), capture_output=True, check=False
        )
        if verb == "activate":
            taken.append(time.perf_counter() - begun)
        return wire.parse_reply(verb, done.stdout)

    return ask
