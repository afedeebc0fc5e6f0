"""Docker boards that are killed while a release comes to them: strike, wait, look, try again.

A board is spoken to with the product's own words (`transports.dialogue`) over the lab's ssh, without Ansible,
which would spend ten times as long per board. Crashes of the whole command line have a function of their own.
"""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from docker_boards import client_of_engine, container_of, lab_of, said_on
from msgspec import Struct
from msgspec.structs import replace
from quadrant_fleet import QuadrantFleet

from fleetctl.artifact import BlobRef
from fleetctl.desired import Desired, desired_fleet
from fleetctl.lab import control, overlay
from fleetctl.lab.docker.containers import wait_for_ssh
from fleetctl.lab.docker.driver import ROOT
from fleetctl.lab.state import LabFiles, VirtualBoard
from fleetctl.manifest.loader import load
from fleetctl.project import Project
from fleetctl.release import Release
from fleetctl.store import BlobStore, canonical_json
from fleetctl.transports import board_script, wire
from fleetctl.transports.base import Order, Reply, ReplyStatus
from fleetctl.transports.dialogue import carry_out
from fleetctl.transports.orders import Goal, Work
from fleetctl.transports.wire import BoardFault

CONFIRM_TIMEOUT = 8.0  # seconds, as in the manifest of the quadrants
PATIENCE = 120.0  # seconds for a board to serve again, on a machine that is busy with others
DEADLINE = 90.0
TRIES = 5  # of the second order, each of which waits ten seconds for a board that is at work
WHOLE_BOARD = (Path(__file__).parent / "whole_board.py").read_text()
KEPT = ("confirmed", "unchanged")

_GO_ON = "/run/fleetctl-go-on"  # on a board: lets a verb leave the step at which a test holds it
_HELD = b"held at the step"
_HOLD = f"""
        os.write(2, {_HELD!r} + b"\\n")
        import time
        while not os.path.exists({_GO_ON!r}):
            time.sleep(0.02)
"""
_CHECKPOINT = """
def checkpoint(step):
    if step == {step!r}:{what}

def run("""


class Fault(StrEnum):
    """What is killed."""

    ACTIVATE = "activate process killed"
    BOARD = "board killed, and started"
    CONTROLLER = "controller killed"


class Case(Struct, frozen=True):
    """One fault on one board: how long until it served a whole release again, and what was wrong then."""

    fault: str
    board: str
    seconds: float
    wrong: tuple[str, ...] = ()

    @property
    def survived(self) -> bool:
        return not self.wrong


@dataclass
class Line:
    """The way from a controller to a board, one ssh a verb; `die` is the controller's end."""

    argv: list[str]
    step: str = ""  # at which the board's side does what follows
    at_step: str = _HOLD  # Python; as it stands, the board waits until a test lets it go on
    on_step: Callable[[], None] = lambda: None
    spoil: Callable[[bytes], bytes] = lambda payload: payload
    process: "subprocess.Popen[bytes] | None" = None
    dead: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, verb: str, request: Mapping[str, Any], payload: bytes = b"") -> Mapping[str, Any]:
        script = _stepping(self.step, self.at_step) if self.step else board_script.whole()
        command = shlex.join(["sudo", "-n", *wire.command(verb, ROOT, script)])
        with self._lock:
            if self.dead:
                raise BoardFault(ReplyStatus.FAILED, "the controller is dead")
            self.process = subprocess.Popen(
                [*self.argv, command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        watch = threading.Thread(target=self._watch, args=(self.process,))
        watch.start()
        said = wire.standard_input(script, request, self.spoil(payload))
        assert self.process.stdin
        assert self.process.stdout
        with contextlib.suppress(BrokenPipeError), self.process.stdin as stdin:
            stdin.write(said)
        stdout = self.process.stdout.read()
        status = self.process.wait(timeout=DEADLINE)
        watch.join()
        self.process.stdout.close()
        if status not in (0, 1):
            raise BoardFault(ReplyStatus.FAILED, f"{verb}: ssh ended with {status}")
        return wire.parse_reply(verb, stdout)

    def _watch(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stderr
        with process.stderr:
            for line in process.stderr:
                if _HELD in line:
                    self.on_step()

    def die(self) -> None:
        with self._lock:
            self.dead = True
            if self.process:
                self.process.kill()


def _stepping(step: str, what: str) -> bytes:
    """The product's own script, with a checkpoint that does something at one step."""
    script = board_script.whole()
    for old, new in (
        (b"\ndef run(", _CHECKPOINT.format(step=step, what=what).encode()),
        (b"main(sys.argv[1:])", b"main(sys.argv[1:], checkpoint=checkpoint)"),
    ):
        assert old in script.partition(b"\nrun({")[0]  # the loader, ahead of the modules as text
        script = script.replace(old, new, 1)
    return script


@dataclass
class CrashLab:
    """Docker boards, each on a confirmed release, and all that can be done to them."""

    fleet: QuadrantFleet
    client: Any
    names: tuple[str, ...]
    _made: Iterator[int] = field(default_factory=lambda: iter(range(1, 100_000)))

    @cached_property
    def files(self) -> LabFiles:
        return LabFiles(self.fleet.root / ".fleetctl" / "lab")

    @cached_property
    def boards(self) -> Mapping[str, VirtualBoard]:
        return control.require(self.files).boards

    @cached_property
    def desired(self) -> Desired:
        manifest = self.fleet.root / "inventory" / "fleet.yaml"
        project = Project(manifest)
        return desired_fleet(project, overlay.overlay(load(manifest), project), self.names)

    def container(self, name: str) -> Any:
        return container_of(self.client, self.fleet, name)

    def order(self, name: str) -> Order:
        """A good release that the board has never seen."""
        desired = self.desired
        board = desired.fleet.boards[name]
        board = replace(board, config={"threshold": 0.1 + next(self._made) * 1e-5})
        store = BlobStore(desired.project.store)
        smoke = desired.fleet.models[board.model].smoke
        release = desired.renderer.keep(board, desired.artifacts[name], smoke, store)
        return Order(board, release, store.root, "c0ffee", CONFIRM_TIMEOUT, DEADLINE)

    def spoiled(self, order: Order) -> Order:
        """The order with the labels of its model in the wrong order."""
        store = BlobStore(order.blobs)
        contract = json.loads(store.get(order.release.files["model/contract.json"].sha256))
        bad = canonical_json({**contract, "labels": contract["labels"][::-1]})
        ref = BlobRef(store.put(bad), len(bad))
        return replace(order, release=Release({**order.release.files, "model/contract.json": ref}))

    def line(self, name: str, **more: Any) -> Line:
        program, *rest = shlex.split(control.ssh_command(self.files, self.boards[name]))
        alive = ["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3", "-o", "ConnectTimeout=20"]
        return Line([program, *alive, *rest], **more)

    def release(self, order: Order, line: Line) -> Reply:
        work = Work(order.board, Goal.RELEASED, DEADLINE, self.files.known_hosts, order=order)
        return carry_out(work, line)

    def look(self, name: str, patience: float = PATIENCE) -> dict[str, Any]:
        """What `whole_board.py` finds on the board."""
        argv = ["python3", "-I", "-S", "-c", WHOLE_BOARD, ROOT, str(patience)]
        said: dict[str, Any] = json.loads(said_on(self.container(name), argv))
        return said

    def run_on(self, name: str, *argv: str) -> str:
        ran = self.container(name).exec_run(list(argv))
        output: str = ran.output.decode(errors="replace")
        assert ran.exit_code == 0, (argv, output)
        return output

    def current(self, name: str) -> str:
        """Digest of the release that is linked, seen from outside the board."""
        return Path(f"/proc/{self.init(name)}/root{ROOT}/current").readlink().name

    def init(self, name: str) -> int:
        """The board's first process, as this machine counts."""
        return int(self.container(name).attrs["State"]["Pid"])

    def verbs_at_work(self, name: str) -> list[int]:
        """Processes that answer a verb on the board; its watcher, which nobody waits for, is none."""
        init = self.init(name)
        home = Path(f"/proc/{init}/ns/pid").readlink()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, ValueError):
                argv = (folder / "cmdline").read_bytes().split(b"\0")
                if argv[0] != b"python3" or not any(b"'activate.py'" in word for word in argv):
                    continue
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if (folder / "ns" / "pid").readlink() == home and parent != init:
                    found.append(int(folder.name))
        return found

    # faults

    def strike(self, name: str, fault: Fault, line: Line) -> bool:
        """False where there was nothing to kill any more."""
        match fault:
            case Fault.CONTROLLER:
                line.die()
            case Fault.BOARD:
                container = self.container(name)
                container.kill()
                container.wait(timeout=30)
                container.start()
            case Fault.ACTIVATE:
                pids = self.verbs_at_work(name)
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                return bool(pids)
        return True

    def crash_at(self, name: str, fault: Fault, after: float) -> Case | None:
        """Strike so many seconds into a release; None where there was nothing to kill at that instant."""
        before, order, line = self.current(name), self.order(name), self.line(name)
        struck: list[float] = []

        def strike() -> None:
            at = time.monotonic()
            if self.strike(name, fault, line):
                struck.append(at)

        timer = threading.Timer(after, strike)
        timer.start()
        self.release(order, line)
        timer.join()
        if not struck:
            return None
        return self.examine(f"{fault}, at a random instant", name, order, {before}, struck[0])

    def crash_at_step(self, name: str, fault: Fault, step: str, *, bad: bool) -> Case:
        """Strike while the board is held at a named step of its own; of a `bad` release, on its way back."""
        before, order = self.current(name), self.order(name)
        self.run_on(name, "rm", "-f", _GO_ON)
        struck: list[float] = []

        def strike() -> None:
            struck.append(time.monotonic())
            self.strike(name, fault, line)
            if fault is not Fault.BOARD:  # its watcher is held by the same checkpoint
                self.let_go_on(name)

        line = self.line(name, step=step, on_step=strike)
        self.release(self.spoiled(order) if bad else order, line)
        if not struck:
            return Case(f"{fault}, at a named step", name, 0.0, (f"the step {step} did not come",))
        case = self.examine(f"{fault}, at a named step", name, order, {before}, struck[0])
        return replace(case, wrong=tuple(f"at {step}: {wrong}" for wrong in case.wrong))

    # afterwards

    def examine(self, fault: str, name: str, order: Order, before: set[str], since: float) -> Case:
        """Wait until the board serves: `before` or the order; and the order must go through in the end."""
        seen = self.look(name)
        seconds = time.monotonic() - since
        wrong = list(seen["wrong"])
        if seen["current"] not in {*before, order.release.digest}:
            wrong.append(f"it serves {seen['current']}, which nobody ordered")
        return Case(fault, name, seconds, (*wrong, *self.converge(name, order)))

    def converge(self, name: str, order: Order) -> list[str]:
        """Give the order once more, with patience for a busy machine; returns what is wrong then."""
        wait_for_ssh(self.boards[name], PATIENCE)
        order = replace(order, confirm_timeout=PATIENCE)
        for _ in range(TRIES):  # a verb whose controller is dead may still be at work, and says so
            reply = self.release(order, self.line(name))
            if "another verb is at work" not in reply.error:
                break
        if reply.data.get("state") not in KEPT:
            return [f"tried again: {reply.error or reply.data.get('receipt')}"]
        after = self.look(name, patience=10)
        wrong = [*after["wrong"], *(f"left over: {thing}" for thing in after["left over"])]
        return wrong if after["current"] == order.release.digest else [*wrong, "it did not converge"]

    def let_go_on(self, name: str) -> None:
        """End the wait of whatever is held at a step."""
        self.run_on(name, "touch", _GO_ON)

    def usual_seconds(self, name: str) -> float:
        """How long a release takes that nothing happens to."""
        begun = time.monotonic()
        reply = self.release(self.order(name), self.line(name))
        assert reply.data.get("state") in KEPT, reply
        return time.monotonic() - begun


@contextlib.contextmanager
def crash_lab(root: Path, count: int) -> Iterator[CrashLab]:
    """So many docker boards, bootstrapped and on a first release; skips where root may not be had."""
    if os.geteuid() != 0:
        pytest.skip("processes on boards are killed from outside, as root")
    fleet = QuadrantFleet.make(root / "fleet")
    more = "".join(f"  giza-{n:02}: {{host: 198.51.100.{n}}}\n" for n in range(1, count + 1))
    text = (root / "fleet" / "inventory" / "fleet.yaml").read_text()
    fleet.edit(text[text.index("groups:\n") : text.index("rollout:\n")], f"boards:\n{more}")
    fleet.edit("waves: [{group: canary}, {percent: 100}]", "waves: [{percent: 100}]")
    fleet.edit("raspberrypi4: 2000", "raspberrypi4: 60000")
    with lab_of(fleet, "amd64"), client_of_engine() as client:
        fit = fleet.run("bootstrap", patience=900)
        assert fit.status == 0, fit.err
        lab = CrashLab(fleet, client, tuple(f"giza-{n:02}" for n in range(1, count + 1)))
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lab.usual_seconds, lab.names))
        yield lab
