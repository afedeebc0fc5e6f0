"""Writes to boards through Ansible: one task a board, on one connection, with results as they come.

ansible-runner starts Ansible; the playbooks are those that plain `ansible-playbook` runs too. Ansible is
handed the boards of one call, never the fleet, and none of its arithmetic of failures is used: each board's
result is a reply, and a board without a result is a failure.
"""

import contextlib
import json
import math
import os
import shutil
import signal
import sys
import sysconfig
import tempfile
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from msgspec import Struct, field

import fleetctl
from fleetctl.errors import TransportError
from fleetctl.manifest.schema import Board
from fleetctl.signing.statement import Signed
from fleetctl.store import atomic_write
from fleetctl.transports.base import NOTHING_SIGNED, Order, Reply, ReplyStatus
from fleetctl.transports.hostkeys import fault_of
from fleetctl.transports.orders import Goal, Preparation, Work, reply_from_json, work_to_json
from fleetctl.transports.parcel import make_deltas
from fleetctl.transports.wire import BoardFault, printable

WORK_SCHEMA = "fleetctl.work/v1"

_SHARD = 500  # boards that Ansible gets at once; its memory grows with every host it knows
_POLL = 0.2  # seconds between looks at the clock
_FAREWELL = 2.0  # seconds that Ansible may take to end its workers, before it is killed
_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "SSH_AUTH_SOCK")
_RUNNERS = (
    "AWX_ISOLATED_DATA_DIR",
    "ANSIBLE_STDOUT_CALLBACK",
    "RUNNER_OMIT_EVENTS",
    "RUNNER_ONLY_FAILED_EVENTS",
)
_PLAYBOOKS = {
    Goal.RELEASED: "release.yml",
    Goal.CONFIRMED: "confirm.yml",
    Goal.REVERTED: "rollback.yml",
    Goal.PREPARED: "bootstrap.yml",
    Goal.LEFT: "leave.yml",
}
_SOCKET_ROOM = 50  # characters; with what is appended, a socket's path must stay below 104 on macOS


class Reader(Protocol):
    """The verbs that change nothing; they need no Ansible."""

    def observe(self, boards: Sequence[Board], *, deadline: float) -> Iterator[Reply]: ...

    def probe(self, boards: Sequence[Board], *, deadline: float) -> Iterator[Reply]: ...

    def logs(self, boards: Sequence[Board], *, lines: int, deadline: float) -> Iterator[Reply]: ...

    def history(self, boards: Sequence[Board], *, last: int, deadline: float) -> Iterator[Reply]: ...

    def describe(
        self, boards: Sequence[Board], asked: Mapping[str, Mapping[str, Any]], *, deadline: float
    ) -> Iterator[Reply]: ...

    def examine(self, boards: Sequence[Board], *, deadline: float) -> Iterator[Reply]: ...

    def remedy(self, boards: Sequence[Board], *, step: str, deadline: float) -> Iterator[Reply]: ...


class AnsibleTransport:
    """Reads over plain ssh, writes through Ansible."""

    name = "ansible"

    def __init__(
        self,
        reader: Reader,
        known_hosts: Path,
        identity: Path | None = None,
        *,
        forks: int = 32,
        playbooks: Path | None = None,
        grace: float = 30.0,
    ) -> None:
        """Args:
        reader: answers `observe`, `probe`, `logs` and `history`.
        known_hosts: the only host keys that are trusted.
        identity: a private key; None leaves the choice to ssh and its agent.
        forks: boards at work at once.
        playbooks: a folder of playbooks other than those that come with fleetctl.
        grace: seconds beyond the boards' own deadlines until Ansible itself is given up.
        """
        self.reader = reader
        self.known_hosts = known_hosts
        self.identity = identity
        self.forks = forks
        self.playbooks = playbooks or shipped_playbooks()
        self.grace = grace

    def observe(self, boards: Sequence[Board], *, deadline: float) -> Iterator[Reply]:
        return self.reader.observe(boards, deadline=deadline)

    def probe(self, boards: Sequence[Board], *, deadline: float) -> Iterator[Reply]:
        return self.reader.probe(boards, deadline=deadline)

    def logs(self, boards: Sequence[Board], *, lines: int, deadline: float) -> Iterator[Reply]:
        return self.reader.logs(boards, lines=lines, deadline=deadline)

    def history(self, boards: Sequence[Board], *, last: int, deadline: float) -> Iterator[Reply]:
        return self.reader.history(boards, last=last, deadline=deadline)

    def release(self, orders: Sequence[Order]) -> Iterator[Reply]:
        make_deltas(orders)  # before there is a process for each board
        return self._play(
            Goal.RELEASED,
            [Work(o.board, Goal.RELEASED, o.deadline, self.known_hosts, order=o) for o in orders],
        )

    def confirm(
        self, boards: Sequence[Board], releases: Mapping[str, str], *, deadline: float
    ) -> Iterator[Reply]:
        return self._play(
            Goal.CONFIRMED,
            [Work(b, Goal.CONFIRMED, deadline, self.known_hosts, release=releases[b.name]) for b in boards],
        )

    def revert(
        self,
        boards: Sequence[Board],
        to: Mapping[str, str | None],
        *,
        reason: str,
        deadline: float,
        signed: Mapping[str, Signed] = NOTHING_SIGNED,
    ) -> Iterator[Reply]:
        return self._play(
            Goal.REVERTED,
            [
                Work(
                    b,
                    Goal.REVERTED,
                    deadline,
                    self.known_hosts,
                    release=to.get(b.name),
                    reason=reason,
                    signed=signed.get(b.name),
                )
                for b in boards
            ],
        )

    def describe(
        self, boards: Sequence[Board], asked: Mapping[str, Mapping[str, Any]], *, deadline: float
    ) -> Iterator[Reply]:
        """What each board is: the reply of the board verb `describe` to what it is `asked`."""
        return self.reader.describe(boards, asked, deadline=deadline)

    def examine(self, boards: Sequence[Board], *, deadline: float) -> Iterator[Reply]:
        """What each board lives with: the reply of the board verb `examine`."""
        return self.reader.examine(boards, deadline=deadline)

    def remedy(self, boards: Sequence[Board], *, step: str, deadline: float) -> Iterator[Reply]:
        """One rung of the ladder on each board. Over ssh: no release is touched, and it is one command."""
        return self.reader.remedy(boards, step=step, deadline=deadline)

    def prepare(
        self, boards: Sequence[Board], preparations: Mapping[str, Preparation], *, deadline: float
    ) -> Iterator[Reply]:
        """Make boards fit to take releases: the reply of the board verb `prepare`."""
        return self._play(
            Goal.PREPARED,
            [
                Work(b, Goal.PREPARED, deadline, self.known_hosts, preparation=preparations[b.name])
                for b in boards
            ],
        )

    def leave(
        self,
        boards: Sequence[Board],
        *,
        reason: str,
        deadline: float,
        signed: Mapping[str, Signed] = NOTHING_SIGNED,
    ) -> Iterator[Reply]:
        """Give boards back to what ran on them before: the reply of the board verb `leave`."""
        return self._play(
            Goal.LEFT,
            [
                Work(b, Goal.LEFT, deadline, self.known_hosts, reason=reason, signed=signed.get(b.name))
                for b in boards
            ],
        )

    def _play(self, goal: Goal, work: Sequence[Work]) -> Iterator[Reply]:
        for start in range(0, len(work), _SHARD):
            shard = {w.board.name: w for w in work[start : start + _SHARD]}
            yield from self._play_shard(goal, shard)

    def _play_shard(self, goal: Goal, work: Mapping[str, Work]) -> Iterator[Reply]:
        forks = min(self.forks, len(work))
        budget = max(w.deadline for w in work.values()) * math.ceil(len(work) / forks) + self.grace
        left = dict(work)
        with _private_folder() as folder:
            run = _Run(
                folder, self.playbooks / _PLAYBOOKS[goal], _work_file(folder, work, self.identity), forks
            )
            # Closed here, not when it is forgotten: a signal that arrives meanwhile would be lost with it.
            with contextlib.closing(run.events(budget)) as events:
                for event in events:
                    reply = reply_of(event, left)
                    if reply is not None:
                        del left[reply.board]
                        yield reply
                    if not left:
                        break  # Ansible's own farewell is not waited for
        yield from (_unanswered(board, run) for board in left)


def shipped_playbooks() -> Path:
    """The playbooks of fleetctl: inside an installed package, beside it in a clone."""
    package = Path(fleetctl.__file__).parent
    installed = package / "_playbooks"
    return installed if installed.is_dir() else package.parent / "playbooks"


def reply_of(event: Mapping[str, Any], work: Mapping[str, Work]) -> Reply | None:
    """The reply that an event of ansible-runner brings, or None when it brings none for a board in `work`."""
    data = event.get("event_data") or {}
    board = str(data.get("host"))
    if board not in work or event.get("event") not in (
        "runner_on_ok",
        "runner_on_failed",
        "runner_on_unreachable",
    ):
        return None
    result = data.get("res") or {}
    if isinstance(result.get("reply"), str):
        return reply_from_json(result["reply"])
    message = str(result.get("msg", ""))
    if result.get("unreachable"):
        fault = fault_of(message, work[board].board, work[board].known_hosts)
    else:
        fault = BoardFault(ReplyStatus.FAILED, printable(message) or "Ansible gave no reason")
    return fault.reply(board)


def _unanswered(board: str, run: "_Run") -> Reply:
    """A board Ansible never spoke of is a failure, and says so."""
    if run.out_of_time:
        return Reply(board, ReplyStatus.TIMED_OUT, error="Ansible did not finish within the deadline")
    tail = printable(" ".join(run.tail))
    return Reply(
        board, ReplyStatus.FAILED, error=f"Ansible gave no result for it: {tail or 'it said nothing'}"
    )


@contextlib.contextmanager
def _private_folder() -> Iterator[Path]:
    """Where Ansible keeps its files and ssh its sockets, for the time of one run."""
    base = tempfile.gettempdir()
    place = base if len(base) <= _SOCKET_ROOM else "/tmp"  # noqa: S108 - mkdtemp makes one nobody else has
    folder = Path(tempfile.mkdtemp(prefix="fleetctl-", dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # ssh may be removing its socket at this very moment


def _work_file(folder: Path, work: Mapping[str, Work], identity: Path | None) -> Path:
    """The inventory of one run; `playbooks/inventory_plugins/fleetctl.py` reads it."""
    path = folder / "work.json"
    document = {
        "schema": WORK_SCHEMA,
        "identity": str(identity.absolute()) if identity else None,
        "work": {name: work_to_json(w) for name, w in work.items()},
    }
    atomic_write(path, json.dumps(document), mode=0o600)
    return path


class _Run(Struct):
    """One playbook under ansible-runner, in a thread of its own."""

    folder: Path
    playbook: Path
    inventory: Path
    forks: int
    out_of_time: bool = False
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=10))  # of what Ansible said outside results
    _queue: "SimpleQueue[Mapping[str, Any] | BaseException | None]" = field(default_factory=SimpleQueue)
    _cancel: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)
    _process: int = 0  # Ansible's, which leads a group; 0 until it says so

    def events(self, budget: float) -> Generator[Mapping[str, Any], None, None]:
        """Events as they come, until Ansible ends or `budget` seconds passed.

        Raises:
            TransportError: ansible-runner could not run Ansible at all.
        """
        until = time.monotonic() + budget
        threading.Thread(target=self._run, name="ansible-runner", daemon=True).start()
        try:
            while (event := self._next(until)) is not None:
                yield event
        finally:
            # Also when the consumer stops early: boards that are not confirmed revert themselves.
            self._end()

    def _end(self) -> None:
        """End Ansible, also where somebody who asked for that asks again: else it goes on, unseen."""
        try:
            # Asked first: its workers have sessions of their own, and it alone knows them.
            if self._process and not self._ended.is_set():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process, signal.SIGTERM)
                self._ended.wait(_FAREWELL)
            self._cancel.set()
            self._ended.wait()
        except (KeyboardInterrupt, SystemExit):
            self._end()
            raise

    def _next(self, until: float) -> Mapping[str, Any] | None:
        while True:
            try:
                item = self._queue.get(timeout=_POLL)
            except Empty:
                if time.monotonic() < until:
                    continue
                self.out_of_time = True
                return None
            if isinstance(item, BaseException):
                raise TransportError(f"Ansible could not be started: {printable(item)}") from item
            return item

    def _run(self) -> None:
        from ansible_runner import Runner, RunnerConfig

        try:
            config = RunnerConfig(
                private_data_dir=str(self.folder),
                project_dir=str(self.playbook.parent),
                playbook=str(self.playbook),
                inventory=str(self.inventory),
                forks=self.forks,
                quiet=True,
                suppress_env_files=True,
            )
            config.prepare()
            # Set behind it, which forgets every setting where there is no file of them.
            config.pexpect_timeout = _POLL / 4
            config.suppress_output_file = True
            # ansible-runner would pass on, and write down, the whole environment.
            config.env = _environment(config.env, self.folder)
            config.command = [*_ansible_playbook(), *config.command[1:]]
            Runner(config, event_handler=self._keep, cancel_callback=self._cancel.is_set).run()
        except BaseException as error:  # noqa: BLE001 - carried to the thread that waits, and raised there
            self._queue.put(error)
        else:
            self._queue.put(None)
        finally:
            self._ended.set()

    def _keep(self, event: dict[str, Any]) -> bool:
        self._process = self._process or event.get("pid", 0)
        if "host" in (event.get("event_data") or {}):
            self._queue.put(event)
        elif event.get("stdout"):
            self.tail.append(event["stdout"])
        return False  # not written to the run's folder


def _ansible_playbook() -> list[str]:
    """The `ansible-playbook` that belongs to this interpreter, whatever PATH says."""
    script = Path(sysconfig.get_path("scripts")) / "ansible-playbook"
    return (
        [sys.executable, str(script)] if script.is_file() else [sys.executable, "-m", "ansible", "playbook"]
    )


def _environment(prepared: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Everything Ansible may know of our environment: a few named variables, and settings of ours."""
    from ansible_runner.utils import get_callback_dir

    passed_on = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
    utf8 = "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"
    return {
        **passed_on,
        **{key: prepared[key] for key in _RUNNERS},
        "ANSIBLE_CALLBACK_PLUGINS": get_callback_dir(),
        "LC_ALL": utf8,
        "PYTHONPATH": str(Path(fleetctl.__file__).parents[1]),  # the workers run the very same fleetctl
        "ANSIBLE_CONFIG": str(shipped_playbooks() / "ansible.cfg"),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "s"),
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_DEPRECATION_WARNINGS": "False",
        "ANSIBLE_CACHE_PLUGIN": "memory",
    }
