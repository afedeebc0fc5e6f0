"""A release to 20 boards at once through Ansible, against 20 plain `ssh` commands in parallel that do less.

The floor is what a careful shell script does: unpack, link, start, wait until the service answers. It checks
no digest, proves nothing, confirms nothing and cannot go back. Both run on fresh virtual boards of the
process lab, whose own work (python starting, the model loading) is on the same processors.
"""

import io
import shlex
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from contract_worlds import LabWorld, Releases, by_board

from benchmarks.harness import Result, after, against, interleave
from fleetctl.desired import holding_of
from fleetctl.lab import control
from fleetctl.rollout import observe
from fleetctl.store import BlobStore
from fleetctl.transports.base import Order

BOARDS = 20
ROUNDS = 3
GOALS = {"cold release": 1.5}
FLOOR = "parallel ssh, tar, link, start"
WAIT = """
import json, sys, time, urllib.request
while True:
    try:
        print(json.load(urllib.request.urlopen(sys.argv[1], timeout=1))["model_sha256"]); break
    except OSError:
        time.sleep(0.02)
"""


def measure() -> Iterator[Result]:
    with tempfile.TemporaryDirectory(prefix="fleetctl-bench-") as folder:
        world = LabWorld(Path(folder))
        releases = Releases(BlobStore(Path(folder) / "store"))
        try:
            yield from _measured(world, releases)
        finally:
            control.down(world.files, keep=False)


def _measured(world: LabWorld, releases: Releases) -> Iterator[Result]:
    """Each way on boards that nobody released to; then the same boards with nothing, or little, to do."""
    orders: list[Order] = []

    def fresh() -> None:
        world.retire()
        orders[:] = [releases.order(board) for board in world.boards(BOARDS)]

    def floor() -> None:
        with ThreadPoolExecutor(BOARDS) as pool:
            list(pool.map(lambda order: _by_hand(world, order), orders))

    def config() -> None:
        release(world, [releases.order(order.board, threshold=0.6) for order in orders])

    ways = {
        FLOOR: after(fresh, floor),
        "cold release": after(fresh, lambda: release(world, orders)),
        "the same release, proved again": lambda: release(world, orders),
        "another threshold": config,
    }
    samples = interleave(ways, ROUNDS)
    yield from against(
        samples, FLOOR, {name: GOALS.get(name) for name in ways if name != FLOOR}, label=f"{BOARDS} boards, "
    )


def release(world: LabWorld, orders: list[Order]) -> None:
    """What a rollout does with a wave: look at the boards, then release, prove and confirm."""
    seen = observe(world.transport, [order.board for order in orders], deadline=60.0)
    informed = [replace(order, holding=holding_of(seen[order.board.name])) for order in orders]
    replies = by_board(world.transport.release(informed))
    states = {reply.data.get("state", reply.error) for reply in replies.values()}
    if states - {"confirmed", "unchanged"}:
        raise RuntimeError(f"not every board proved its release: {states}")


def _by_hand(world: LabWorld, order: Order) -> None:
    board, root = order.board, shlex.quote(order.board.root)
    script = (
        f"mkdir -p {root}/new && tar -xf - -C {root}/new && ln -sfn new {root}/current && "
        f"(setsid {board.python} {root}/new/runtime/serve.py --release {root}/new "
        "</dev/null >/dev/null 2>&1 &) && "
        f"python3 -c {shlex.quote(WAIT)} http://127.0.0.1:{board.serve_port}/healthz"
    )
    argv = ["ssh", "-F", "/dev/null", "-i", str(world.files.identity), "-p", str(board.port)]
    argv += ["-o", f"UserKnownHostsFile={world.files.known_hosts}", "-o", "BatchMode=yes"]
    argv += [f"{board.user}@{board.host}", script]
    subprocess.run(argv, input=_tar(order), check=True, capture_output=True)


def _tar(order: Order) -> bytes:
    blobs, stream = BlobStore(order.blobs), io.BytesIO()
    contents = {path: blobs.get(ref.sha256) for path, ref in order.release.files.items()}
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for path, data in {**contents, "release.json": order.release.manifest}.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()
