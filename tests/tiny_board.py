"""A board in a temporary folder, and tiny releases for it: everything real but the size of the model.

The model says which quadrant of a 16x16 picture is the brightest (see tests/cases/device/make_models.py).
"""

import contextlib
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from fleetctl.artifact import BlobRef, Contract, GoldenAnswer, Tensor
from fleetctl.device import npy
from fleetctl.release import Release
from fleetctl.store import canonical_json, sha256

DEVICE = Path(__file__).parent.parent / "fleetctl" / "device"
MODELS = Path(__file__).parent / "cases" / "device"
LABELS = ("north-west", "north-east", "south-west", "south-east")

# Runs a verb as the transports do, notes its named steps, and at one of them ends it by SIGKILL, or leaves it
# and all that it starts hardly room for a number in a file.
DRIVER = """
import contextlib, os, resource, signal, sys
script, steps, crash_at, full_at, units, *argv = sys.argv[1:]
board = {"__name__": "activate", "__package__": None, "__file__": script}
with open(script) as source:
    exec(compile(source.read(), "activate.py", "exec"), board)
def checkpoint(step):
    with contextlib.suppress(OSError), open(steps, "a") as stream:
        print(step, file=stream)
    if step == full_at:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, 16))
    if step == crash_at:
        os.kill(os.getpid(), signal.SIGKILL)
sys.exit(board["main"](argv, checkpoint=checkpoint, unit_folder=units))
"""


def picture(quadrant: int, bright: int = 200) -> NDArray[np.uint8]:
    """uint8 (16, 16), dark but for one quadrant."""
    pixels = np.full((16, 16), 10, np.uint8)
    top, left = 8 * (quadrant // 2), 8 * (quadrant % 2)
    pixels[top : top + 8, left : left + 8] = bright
    return pixels


def as_npy(pixels: NDArray[np.uint8]) -> bytes:
    return npy.encode(pixels.shape, pixels.tobytes())


def tiny_contract(**changes: Any) -> Contract:
    """The contract of `quadrants.tflite`, with fields changed at will."""
    contract = Contract(
        model="quadrants",
        variant="int8",
        task="classification",
        labels=LABELS,
        preprocess={"shape": [16, 16, 1], "fit": "contain", "smooth": 0},
        input=Tensor((1, 16, 16, 1), "uint8", 1.0, 0),
        output=Tensor((1, 4), "uint8", 0.003921568859368563, 0),
        golden=tuple(GoldenAnswer(label, 0.784314) for label in LABELS),
        score_tolerance=0.07,
    )
    return replace(contract, **changes)


class TinyRelease(Struct, frozen=True):
    """A release with its bytes; `with_file` gives a variant of it."""

    files: Mapping[str, bytes]

    @property
    def release(self) -> Release:
        return Release({path: BlobRef(sha256(data), len(data)) for path, data in self.files.items()})

    @property
    def digest(self) -> str:
        return self.release.digest

    @property
    def blobs(self) -> dict[str, bytes]:
        return {sha256(data): data for data in self.files.values()}

    def with_file(self, path: str, data: bytes) -> "TinyRelease":
        return TinyRelease({**self.files, path: data})

    def with_json(self, path: str, **changes: Any) -> "TinyRelease":
        return self.with_file(path, canonical_json({**json.loads(self.files[path]), **changes}))


def tiny_release(port: int, *, board: str = "luxor-01", **config: Any) -> TinyRelease:
    """A release of the quadrant model for a board with the `process` service manager."""
    golden = np.stack([picture(quadrant) for quadrant in range(4)])
    serve = {"board": board, "host": "127.0.0.1", "port": port, "accelerator": "none", "threads": 1, **config}
    files = {
        "model/model.tflite": (MODELS / "quadrants.tflite").read_bytes(),
        "model/contract.json": tiny_contract().to_json(),
        "model/golden.npy": as_npy(golden),
        "config/serve.json": canonical_json(serve),
        "config/service.json": canonical_json(
            {"manager": "process", "unit": "fleetctl-serve.service", "python": sys.executable}
        ),
        "config/smoke.json": canonical_json(
            {"samples": 4, "min_agreement": 1.0, "max_p95_ms": 500, "accelerator": "none"}
        ),
    }
    runtime = {f"runtime/{path.name}": path.read_bytes() for path in DEVICE.glob("*.py")}
    return TinyRelease({**files, **runtime})


def answers_wrongly(release: TinyRelease) -> TinyRelease:
    """The same with the labels of its model in the wrong order."""
    return release.with_file("model/contract.json", tiny_contract(labels=LABELS[::-1]).to_json())


def bundle(blobs: Mapping[str, bytes]) -> bytes:
    """An uncompressed tar whose members are named by digest."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for digest, data in blobs.items():
            member = tarfile.TarInfo(digest)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class TinyBoard:
    """Verbs of `activate.py` against a root folder, as a transport would send them."""

    root: Path
    name: str = "luxor-01"
    port: int = field(default_factory=free_port)
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def steps_file(self) -> Path:
        return self.root.parent / "steps"

    @property
    def units(self) -> Path:
        """Where systemd's units go, were there a systemd."""
        return self.root.parent / "units"

    def start(
        self,
        verb: str,
        request: Mapping[str, Any],
        payload: bytes = b"",
        *,
        crash_at: str = "",
        full_at: str = "",
        options: Sequence[str] = (),
        limit: Callable[[], None] | None = None,
        is_all: bool = True,
    ) -> "subprocess.Popen[bytes]":
        """Begin a verb; its standard input is written, and closed where that is all."""
        argv = [self.python, "-c", DRIVER, str(DEVICE / "activate.py"), str(self.steps_file), crash_at]
        argv += [full_at, str(self.units), verb, "--root", str(self.root), *options]
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=limit,
            env={**os.environ, **self.environment},
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(canonical_json(dict(request)) + payload)
            process.stdin.flush()
        if is_all:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.stdin = None
        return process

    def finish(self, process: "subprocess.Popen[bytes]") -> dict[str, Any]:
        """The reply of a verb; empty where it was killed before it gave one."""
        stdout, stderr = process.communicate(timeout=60)
        if process.returncode == -signal.SIGKILL:
            return {}
        reply = json.loads(stdout)
        assert isinstance(reply, dict), stderr
        assert process.returncode == (0 if reply["ok"] else 1)
        return reply

    def ask(
        self, verb: str, request: Mapping[str, Any] | None = None, payload: bytes = b"", **more: Any
    ) -> dict[str, Any]:
        return self.finish(self.start(verb, request or {}, payload, **more))

    def activation(self, release: TinyRelease, **changes: Any) -> tuple[dict[str, Any], bytes]:
        """The request and the bundle that bring `release`."""
        missing = self.ask("missing", {"blobs": sorted(release.blobs)})["missing"]
        payload = bundle({digest: release.blobs[digest] for digest in missing}) if missing else b""
        request = {
            "board": self.name,
            "release": release.digest,
            "manifest": release.release.manifest.decode(),
            "bundle_bytes": len(payload),
            "commit": "c0ffee",
            "confirm_timeout": 20.0,
            "deadline": 20.0,
        }
        return {**request, **changes}, payload

    def activate(
        self,
        release: TinyRelease,
        *,
        crash_at: str = "",
        full_at: str = "",
        limit: Callable[[], None] | None = None,
        **changes: Any,
    ) -> dict[str, Any]:
        request, payload = self.activation(release, **changes)
        return self.ask("activate", request, payload, crash_at=crash_at, full_at=full_at, limit=limit)

    def confirm(self, release: TinyRelease, **more: Any) -> dict[str, Any]:
        return self.ask("confirm", {"release": release.digest}, **more)

    def install(self, release: TinyRelease) -> None:
        """Activate and confirm, which must work."""
        assert self.activate(release)["state"] in ("pending", "unchanged")
        assert self.confirm(release)["state"] == "confirmed"

    def return_to(self, release: TinyRelease) -> None:
        """Have it keep and serve `release`, whatever the test before left it with."""
        if self.pending or self.serves() != release.digest or self.good != release.digest:
            self.install(release)

    def healthz(self) -> dict[str, Any]:
        return self.http("GET", "/healthz")[1]

    def http(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def serves(self) -> str | None:
        """Digest of the release that the service says it serves; None where nothing answers."""
        try:
            return str(self.healthz()["release"])
        except (OSError, http.client.HTTPException):
            return None

    @property
    def current(self) -> str | None:
        return (self.root / "current").readlink().name if (self.root / "current").is_symlink() else None

    @property
    def good(self) -> str | None:
        path = self.root / "state" / "good"
        return path.read_text().strip() if path.exists() else None

    @property
    def pending(self) -> bool:
        return (self.root / "state" / "pending.json").exists()

    def wait_until_settled(self, patience: float = 10.0) -> None:
        """Until nothing is on probation any more."""
        give_up = time.monotonic() + patience
        while self.pending:
            assert time.monotonic() < give_up, "the board did not settle"
            time.sleep(0.02)

    def processes(self) -> list[int]:
        """Every process that works in or on the root: service, watcher, verbs."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(self.root).encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
        return [pid for pid in found if pid != os.getpid()]

    def cut_power(self) -> None:
        """Kill everything that runs on the board, at once."""
        while pids := self.processes():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)


@contextlib.contextmanager
def powered(root: Path) -> Iterator[TinyBoard]:
    board = TinyBoard(root)
    try:
        yield board
    finally:
        board.cut_power()
