"""A picture at a time: the service of a board against a bare interpreter with the same model, and activation.

The bare interpreter sets a prepared tensor, invokes, and gets the scores: no picture, no preprocessing, no
HTTP. The service is given a picture over one kept connection on loopback, by a caller that writes and reads
the bytes itself: `http.client` would add a fifth of a millisecond that is not the service's. Both take turns
by blocks, one thread each, on this machine. Memory is what each process holds after its blocks.
"""

import io
import json
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks import unlearnt
from benchmarks.harness import NotMeasured, Result
from fleetctl.device import runtime
from fleetctl.lab.ports import free_ports
from fleetctl.manifest.schema import Board, BoardKind, ServiceManager, Smoke, VariantName
from fleetctl.render.renderer import Renderer
from fleetctl.render.sources import board_runtime, packaged_templates

BLOCKS, PICTURES = 12, 50  # blocks of each, pictures in one
SLOWER, LARGER = 1.1, 15.0  # times, and MB
BARE = "bare interpreter"


class Bare:
    """A process with an interpreter and nothing else."""

    def __init__(self, model: Path) -> None:
        argv = [
            sys.executable,
            str(Path(__file__).with_name("bare_interpreter.py")),
            str(model),
            str(PICTURES),
        ]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def block(self) -> list[float]:
        """Milliseconds of each inference."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        times: list[float] = json.loads(self.process.stdout.readline())
        return times


class Served:
    """A release and the service that runs from it, as on a board."""

    def __init__(self, folder: Path) -> None:
        store, artifact = unlearnt.keep(folder)
        self.port = next(free_ports(folder, ()))
        self.folder = folder / "release"
        self.photos = [_npy(photo) for photo in unlearnt.photos()]
        board = Board(
            "bench",
            BoardKind.GENERIC,
            "unlearnt",
            VariantName.INT8,
            service=ServiceManager.PROCESS,
            serve_port=self.port,
            config={"threads": 1},
        )
        renderer = Renderer(packaged_templates(), board_runtime())
        release = renderer.keep(board, artifact, Smoke(samples=unlearnt.SAMPLES), store)
        for path, ref in release.files.items():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(store.get(ref.sha256))
        (self.folder / "release.json").write_bytes(release.manifest)
        argv = [sys.executable, str(self.folder / "runtime" / "serve.py"), "--release", str(self.folder)]
        self.process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)

    def connect(self) -> "Connection":
        for _ in range(600):
            try:
                return Connection(self.port)
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("the service does not answer")

    def block(self, connection: "Connection") -> tuple[list[float], list[float]]:
        """Milliseconds of each picture: on the whole way and back, and as the service says itself."""
        whole, own = [], []
        for number in range(PICTURES):
            begun = time.perf_counter()
            reply = json.loads(connection.predict(self.photos[number % len(self.photos)]))
            whole.append(1000 * (time.perf_counter() - begun))
            own.append(float(reply["elapsed_ms"]))
        return whole, own


class Connection:
    """A caller's connection, kept."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._replies = self._socket.makefile("rb")

    def predict(self, picture: bytes) -> bytes:
        """The body of the reply."""
        head = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(picture)
        self._socket.sendall(head + picture)
        status, *fields = iter(self._replies.readline, b"\r\n")
        if b" 200 " not in status:
            raise RuntimeError(f"the service answers {status!r}")
        (length,) = (int(field.split(b":")[1]) for field in fields if field.startswith(b"Content-Length:"))
        return self._replies.read(length)


def measure() -> Iterator[Result]:
    if sys.platform != "linux":
        raise NotMeasured("the kernel's record of a process's memory is Linux's")
    try:
        runtime._runtime_module()
    except runtime.RuntimeRefused as reason:
        raise NotMeasured(str(reason)) from None
    with tempfile.TemporaryDirectory(prefix="fleetctl-bench-") as name:
        served = Served(Path(name))
        bare = Bare(served.folder / "model" / "model.tflite")
        try:
            yield from _compared(bare, served, served.connect())
        finally:
            for process in (bare.process, served.process):
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=30)


def _compared(bare: Bare, served: Served, connection: Connection) -> Iterator[Result]:
    bare.block(), served.block(connection)  # once for the caches
    alone: list[float] = []
    whole: list[float] = []
    own: list[float] = []
    for _ in range(BLOCKS):
        alone += bare.block()
        there, inside = served.block(connection)
        whole += there
        own += inside
    for label, share in (("p50", 0.5), ("p95", 0.95)):
        floor = _quantile(alone, share)
        yield Result(f"{BARE}, one thread, {label}", round(floor, 3), "ms")
        yield _against(f"service, its own time for a picture, {label}", _quantile(own, share), label, floor)
        yield _against(f"service, there and back over HTTP, {label}", _quantile(whole, share), label, floor)
    memory = {process: _megabytes(process.pid) for process in (bare.process, served.process)}
    yield Result(f"{BARE}, memory", round(memory[bare.process], 1), "MB")
    more = memory[served.process] - memory[bare.process]
    yield Result("service, memory over it", round(more, 1), "MB", goal=LARGER)


def _against(name: str, value: float, label: str, floor: float) -> Result:
    return Result(
        name, round(value, 3), "ms", f"{BARE}, one thread, {label}", round(value / floor, 2), SLOWER
    )


def _quantile(times: Sequence[float], share: float) -> float:
    return statistics.quantiles(times, n=100, method="inclusive")[round(100 * share) - 1]


def _megabytes(pid: int) -> float:
    """Memory of a process that it shares with no other, and its share of the rest: libraries are both's."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    (pss,) = (line for line in lines if line.startswith("Pss:"))
    return int(pss.split()[1]) * 1024 / 1e6


def _npy(photo: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> bytes:
    stream = io.BytesIO()
    np.save(stream, photo)
    return stream.getvalue()
