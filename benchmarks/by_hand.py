"""What a careful shell script does to release to boards: the floor, one `ssh` for each board, all at once.

Unpack, link, start, and wait until the service answers. It checks no digest, proves nothing, confirms nothing
and cannot go back; its unit has no step for that either.
"""

import io
import shlex
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from fleetctl.lab.state import LabFiles
from fleetctl.manifest.schema import Board, ServiceManager
from fleetctl.store import BlobStore
from fleetctl.transports.base import Order

Start = Callable[[Board], str]  # how a board's service is started, and waited for
UNIT = "fleetctl-serve.service"
GOING_BACK = b"ExecStartPre="  # how the line of the unit begins that goes back after a crash
ANSWERS = """
import json, sys, time, urllib.request
give_up = time.monotonic() + 60
while True:
    try:
        print(json.load(urllib.request.urlopen(sys.argv[1], timeout=1))["model_sha256"]); break
    except OSError as error:
        if time.monotonic() > give_up: sys.exit("the service does not answer: %s" % error)
        time.sleep(0.02)
"""


def release(files: LabFiles, orders: Sequence[Order], start: Start) -> None:
    """Every board at once."""

    def one(order: Order) -> None:
        script = f"{unpack(order.board)} && {link(order.board)} && {start(order.board)}"
        argv = ["ssh", "-F", "/dev/null", "-i", str(files.identity), "-p", str(order.board.port)]
        argv += ["-o", f"UserKnownHostsFile={files.known_hosts}", "-o", "BatchMode=yes"]
        argv += [f"{order.board.user}@{order.board.host}", _as_root(order.board, script)]
        done = subprocess.run(argv, input=tar_of(order), check=False, capture_output=True)
        if done.returncode:
            raise RuntimeError(f"{order.board.name}, by hand: {done.stderr[-300:].decode(errors='replace')}")

    with ThreadPoolExecutor(len(orders)) as pool:
        list(pool.map(one, orders))


def unpack(board: Board) -> str:
    """Takes a tar on standard input."""
    new = shlex.quote(f"{board.root}/new")
    into = f"mkdir -p {new} && tar -xf - -C {new}"
    if board.service is ServiceManager.SYSTEMD:
        return f"{into} && cp {new}/unit/{UNIT} /etc/systemd/system/{UNIT}"
    return into


def link(board: Board) -> str:
    root = shlex.quote(board.root)
    return f"ln -sfn {root}/new {root}/current"


def restart(_: Board) -> str:
    """systemd's service, of which it is asked whether it is active, and no more."""
    return f"systemctl daemon-reload && systemctl restart {UNIT} && systemctl is-active --quiet {UNIT}"


def restart_and_wait(board: Board) -> str:
    return f"{restart(board)} && {wait(board)}"


def spawn_and_wait(board: Board) -> str:
    """A service that nobody keeps."""
    new = shlex.quote(f"{board.root}/new")
    argv = f"{shlex.quote(board.python)} {new}/runtime/serve.py --release {new}"
    return f"(setsid {argv} </dev/null >/dev/null 2>&1 &) && {wait(board)}"


def wait(board: Board) -> str:
    """Until the service answers."""
    return f"python3 -c {shlex.quote(ANSWERS)} http://127.0.0.1:{board.serve_port}/healthz"


def _as_root(board: Board, script: str) -> str:
    return f"sudo -n sh -c {shlex.quote(script)}" if board.become else script


def tar_of(order: Order) -> bytes:
    """All files of the release, and its manifest."""
    blobs, stream = BlobStore(order.blobs), io.BytesIO()
    contents = {path: blobs.get(ref.sha256) for path, ref in order.release.files.items()}
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for path, data in {**contents, "release.json": order.release.manifest}.items():
            if path.startswith("unit/"):
                data = b"".join(each for each in data.splitlines(True) if not each.startswith(GOING_BACK))
            member = tarfile.TarInfo(path)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()
