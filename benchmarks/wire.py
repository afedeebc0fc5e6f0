"""What a release costs on the wire: every byte of a connection, both ways, counted before a board.

Held against `ssh true` with the same options through the same line, because no connection costs less: what a
release adds to that is its own. A new model is held against what others need to tell it by the old one:
bsdiff, and `zstd --patch-from` where there is one. The board is one of the process lab, with a model as large
as the usual reader.
"""

import contextlib
import shlex
import shutil
import subprocess
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import bsdiff4
from contract_worlds import LabWorld, Releases, by_board
from msgspec.structs import replace
from tcp_link import Link, Weather, link_to

from benchmarks import unlearnt
from benchmarks.harness import NotMeasured, Result, part
from benchmarks.unlearnt import Weights
from fleetctl.desired import holding_of
from fleetctl.lab import control
from fleetctl.manifest.schema import Board, Smoke
from fleetctl.observing import observe
from fleetctl.release import Release
from fleetctl.render.renderer import Renderer
from fleetctl.render.sources import board_runtime, packaged_templates
from fleetctl.store import BlobStore
from fleetctl.transports.ansible import AnsibleTransport
from fleetctl.transports.ansible_inventory import host_key_options
from fleetctl.transports.base import Order, Reply
from fleetctl.transports.ssh import SshReader

CONFIG_GOAL = 4 << 10
DELTA_GOAL = 1.05
PATIENCE = 300.0  # seconds for a board on a slow line
SLOW = Weather(bits_per_second=1e6, round_trip=0.2, loss=0.02)
ZSTD = "zstd -19 --patch-from"
SLOWLY = "1 Mbit/s, 200 ms, 2 % loss"


def measure() -> Iterator[Result]:
    with tempfile.TemporaryDirectory(prefix="fleetctl-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        world = LabWorld(folder)
        stack.callback(control.down, world.files, keep=False)

        def line(weather: Weather | None = None) -> Line:
            (board,) = world.boards(1)
            return stack.enter_context(_line(world, board, folder, weather))

        yield from _configurations(line(), Releases(BlobStore(folder / "store")))
        yield from part("new models", lambda: _models(line(), folder / "models"))
        yield from part("a line that breaks", lambda: _broken(line(), line(), folder / "models"))
        yield from part("a slow line", lambda: _slow_line(line(SLOW), folder / "models"))


def _configurations(line: "Line", releases: Releases) -> Iterator[Result]:
    bare = line.nothing()
    yield Result("`ssh true`", bare, "bytes")
    yield _over("looking at a board", line.look(), bare)
    first = line.release(releases.order(line.board))
    yield _over("the first release", first, bare)
    config = line.release(releases.order(line.board, threshold=0.6))
    yield _over("another threshold", config, bare, CONFIG_GOAL)
    yield _over("a threshold that it had before", line.release(releases.order(line.board)), bare)


def _models(line: "Line", folder: Path) -> Iterator[Result]:
    """Each from the model as it was made; what another threshold takes is no part of a model."""
    if not shutil.which("zstd"):
        yield Result(ZSTD, None, "bytes", missing="zstd is not installed")
    ordering = Ordering(line.board, folder)
    made = ordering(Weights.AS_MADE)
    line.release(made)
    config = line.release(ordering(Weights.AS_MADE, threshold=0.6))
    for weights, goal in ((Weights.LAST_LAYER, DELTA_GOAL), (Weights.ALL, None)):
        line.release(made)
        wanted = ordering(weights)
        more = line.release(wanted) - config
        for peer, said in _peers(made.release, wanted.release, BlobStore(made.blobs)):
            yield Result(f"{weights.value}, {peer}", said, "bytes")
            ratio = round(more / said, 3)
            yield Result(
                f"{weights.value}, over another threshold, against {peer}", more, "bytes", peer, ratio, goal
            )


def _broken(unbroken: "Line", broken: "Line", folder: Path) -> Iterator[Result]:
    """On boards that never had the model: what they once had is not sent again."""
    for line in (unbroken, broken):
        line.release(Ordering(line.board, folder)(Weights.AS_MADE))
    whole = unbroken.release(Ordering(unbroken.board, folder)(Weights.ALL))
    count = broken.broken(Ordering(broken.board, folder)(Weights.ALL), whole // 2)
    yield Result("trained anew, unbroken", whole, "bytes")
    yield Result("trained anew, broken at the half", count, "bytes", "unbroken", round(count / whole, 3))


def _slow_line(line: "Line", folder: Path) -> Iterator[Result]:
    """The same with the seconds, which the line decides."""
    ordering = Ordering(line.board, folder)
    for name, weights in (("the first release", Weights.AS_MADE), ("last layer anew", Weights.LAST_LAYER)):
        count, seconds = line.timed(lambda weights=weights: line.release(ordering(weights)))  # type: ignore[misc]
        yield Result(f"{SLOWLY}: {name}", count, "bytes")
        yield Result(f"{SLOWLY}: {name}, time", round(seconds, 1), "s")
    size = ordering.size(Weights.ALL)
    count, seconds = line.timed(lambda: line.broken(ordering(Weights.ALL), size // 3, size // 3))
    yield Result(
        f"{SLOWLY}: trained anew, broken twice", count, "bytes", "its deflated bytes", round(count / size, 3)
    )
    yield Result(f"{SLOWLY}: trained anew, broken twice, time", round(seconds, 1), "s")


def _over(name: str, count: int, bare: int, goal: float | None = None) -> Result:
    return Result(f"{name}, over `ssh true`", count - bare, "bytes", goal=goal)


def _peers(old: Release, new: Release, blobs: BlobStore) -> Iterator[tuple[str, int]]:
    """What others need for the files that changed: of each, its difference or its deflated self."""
    ways: dict[str, Callable[[bytes, bytes], int]] = {"bsdiff": lambda a, b: len(bsdiff4.diff(a, b))}
    if shutil.which("zstd"):
        ways[ZSTD] = _zstd
    for name, way in ways.items():
        yield (
            name,
            sum(
                min(way(*both), len(zlib.compress(both[1], 9)))
                for both in (
                    (blobs.get(old.files[path].sha256), blobs.get(ref.sha256))
                    for path, ref in new.files.items()
                    if ref != old.files[path]
                )
            ),
        )


def _zstd(old: bytes, new: bytes) -> int:
    with tempfile.TemporaryDirectory(prefix="fleetctl-bench-") as name:
        before, after = Path(name) / "old", Path(name) / "new"
        before.write_bytes(old)
        after.write_bytes(new)
        argv = ["zstd", "-q", "-19", "-c", f"--patch-from={before}", str(after)]
        return len(subprocess.run(argv, check=True, capture_output=True).stdout)


@dataclass(frozen=True)
class Ordering:
    """Makes orders for the usual reader with its weights changed."""

    board: Board
    folder: Path

    def __call__(self, weights: Weights, threshold: float = 0.5) -> Order:
        store, artifact = unlearnt.keep(self.folder, weights)
        board = replace(self.board, config={"threshold": threshold})
        renderer = Renderer(packaged_templates(), board_runtime())
        release = renderer.keep(board, artifact, Smoke(samples=unlearnt.SAMPLES), store)
        return Order(board, release, store.root, "c0ffee", PATIENCE, PATIENCE)

    def size(self, weights: Weights) -> int:
        """Bytes of the model, deflated."""
        order = self(weights)
        return len(
            zlib.compress(BlobStore(order.blobs).get(order.release.files["model/model.tflite"].sha256), 9)
        )


@contextlib.contextmanager
def _line(world: LabWorld, board: Board, folder: Path, weather: Weather | None) -> Iterator["Line"]:
    with link_to(board.port, weather) as link:
        known = folder / f"known_hosts.{board.name}"
        text = world.files.known_hosts.read_text()
        known.write_text(text.replace(f":{board.port} ", f":{link.port} "))
        yield Line(replace(board, port=link.port), known, world.files.identity, link)


@dataclass
class Line:
    """A board behind a link, and the ways to reach it; each returns the bytes that it took."""

    board: Board
    known_hosts: Path
    identity: Path
    link: Link

    @property
    def transport(self) -> AnsibleTransport:
        return AnsibleTransport(SshReader(self.known_hosts, self.identity), self.known_hosts, self.identity)

    def nothing(self) -> int:
        argv = ["ssh", "-F", "/dev/null", *host_key_options(self.known_hosts), "-o", "IdentitiesOnly=yes"]
        argv += ["-i", str(self.identity), "-p", str(self.board.port), f"{self.board.user}@{self.board.host}"]
        subprocess.run([*argv, shlex.join(["true"])], check=True, capture_output=True)
        return self.link.taken()

    def look(self) -> int:
        observe(self.transport, [self.board], deadline=PATIENCE)
        return self.link.taken()

    def release(self, order: Order) -> int:
        """What a rollout sends after it has looked at the board."""
        told = self._informed(order)
        self.link.taken()
        reply = self._given(told)
        if reply.data.get("state") != "confirmed":
            raise RuntimeError(reply.error or str(reply.data))
        return self.link.taken()

    def broken(self, order: Order, *counts: int) -> int:
        """The same where the line breaks after so many bytes towards the board; and all that it took."""
        taken = 0
        for count in counts:
            told = self._informed(order)
            self.link.taken()
            self.link.break_after(count, self._is_still)
            if self._given(told).ok:
                raise NotMeasured("the line did not break before all was sent")
            taken += self.link.taken()
        return taken + self.release(order)

    def timed(self, work: Callable[[], int]) -> tuple[int, float]:
        begun = time.monotonic()
        return work(), time.monotonic() - begun

    def _informed(self, order: Order) -> Order:
        seen = observe(self.transport, [self.board], deadline=PATIENCE)[self.board.name]
        return replace(order, holding=holding_of(seen))

    def _given(self, order: Order) -> Reply:
        return by_board(self.transport.release([order]))[self.board.name]

    def _is_still(self) -> bool:
        """Whether the board has taken in what came: loopback is faster than it is."""
        folder = Path(self.board.root) / "blobs" / "begun"
        sizes = [path.stat().st_size for path in folder.glob("*")]
        time.sleep(1.0)
        return bool(sizes) and sizes == [path.stat().st_size for path in folder.glob("*")]
