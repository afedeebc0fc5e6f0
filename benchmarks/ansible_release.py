"""A release to N boards at once through Ansible, against N plain `ssh` commands in parallel that do less.

    python benchmarks/ansible_release.py [BOARDS ...]        default: 4 20

The floor is what a careful shell script does: unpack, link, start, wait until the service answers. It checks
no digest, proves nothing, confirms nothing and cannot go back. Both run on fresh virtual boards of the
process lab, whose own work (python starting, the model loading) is on the same processors.
Prints one line of JSON for each size.
"""

import io
import json
import shlex
import subprocess
import sys
import tarfile
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "contract"))

from contract_worlds import LabWorld, Releases, by_board

from fleetctl.lab import control
from fleetctl.store import BlobStore
from fleetctl.transports.base import Order

WAIT = """
import json, sys, time, urllib.request
while True:
    try:
        print(json.load(urllib.request.urlopen(sys.argv[1], timeout=1))["model_sha256"]); break
    except OSError:
        time.sleep(0.02)
"""


def floor(world: LabWorld, orders: list[Order]) -> float:
    """Seconds for the shell script's way, all boards at once."""
    with ThreadPoolExecutor(len(orders)) as pool:
        begun = time.perf_counter()
        list(pool.map(lambda order: _by_hand(world, order), orders))
        return time.perf_counter() - begun


def ours(world: LabWorld, orders: list[Order]) -> float:
    """Seconds for the whole of `AnsibleTransport.release`."""
    begun = time.perf_counter()
    replies = by_board(world.transport.release(orders))
    took = time.perf_counter() - begun
    states = {reply.data.get("state", reply.error) for reply in replies.values()}
    if states - {"confirmed", "unchanged"}:
        raise SystemExit(f"not every board proved its release: {states}")
    return took


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


def measure(count: int) -> dict[str, float]:
    """Both ways on `count` fresh boards each, then ours again twice on boards that have a release."""
    with tempfile.TemporaryDirectory(prefix="fleetctl-bench-") as folder:
        world = LabWorld(Path(folder))
        releases = Releases(BlobStore(Path(folder) / "store"))
        try:
            by_hand = floor(world, [releases.order(board) for board in world.boards(count)])
            world.retire()
            boards = world.boards(count)
            cold = ours(world, [releases.order(board) for board in boards])
            unchanged = ours(world, [releases.order(board) for board in boards])
            config = ours(world, [releases.order(board, threshold=0.6) for board in boards])
        finally:
            control.down(world.files, keep=False)
    return {
        "boards": count,
        "floor_s": round(by_hand, 2),
        "cold_s": round(cold, 2),
        "cold_over_floor": round(cold / by_hand, 2),
        "unchanged_s": round(unchanged, 2),
        "config_only_s": round(config, 2),
    }


if __name__ == "__main__":
    for size in map(int, sys.argv[1:] or ["4", "20"]):
        print(json.dumps(measure(size)), flush=True)
