"""Reads over plain ssh: what boards run, prove, log and have run; and commands of the user's own.

A board that keeps our very modules answers with them, one with a release of another version with that
release's own `activate.py`: a read costs a few hundred bytes. One that has none is sent the script.
"""

import resource
import shlex
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fleetctl.manifest.schema import Board
from fleetctl.store import canonical_json
from fleetctl.transports import board_script, kept_look, wire
from fleetctl.transports.base import Reply, ReplyStatus
from fleetctl.transports.board_script import NOT_KEPT
from fleetctl.transports.fan_out import fan_out
from fleetctl.transports.known_hosts import KnownHosts
from fleetctl.transports.ssh_connection import Deadline, Outcome, Run, Trust, connected
from fleetctl.transports.unable import no_python, no_sudo, refusal_of_sudo
from fleetctl.transports.wire import BoardFault

_CONNECTIONS = 256  # boards asked at once: a silent one costs a thread that sleeps, and nobody's turn
_FILES_PER_CONNECTION = 4
_FILES_OF_OUR_OWN = 64
_NO_RELEASE = 94  # exit status of a question where the board has no release of ours, or none any more
_NO_PROGRAM = 127  # exit status of a shell, and of `env`, where there is no program of that name
_SUDO = ("env", "LC_MESSAGES=C", "sudo", "-n")  # what it says is told by its words
# Python is started only where it may find its modules.
_ASK = (
    '[ -f "$1/state/compiled" ] && exec python3 -I -S -c "$2" "$3" --root "$1"; '
    f'[ -f "$1/current/runtime/activate.py" ] && exit {NOT_KEPT}; exit {_NO_RELEASE}'
)
_ASK_ITS_OWN = (
    f'script="$1/current/runtime/activate.py"; [ -f "$script" ] || exit {_NO_RELEASE}; '
    '[ -x "$2" ] && exec "$2" -I -S "$script" "$3" --root "$1"; '
    'exec python3 -I -S "$script" "$3" --root "$1"'
)


class SshReader:
    """Asks many boards at once; each answers, or fails, on its own."""

    def __init__(self, known_hosts: Path, identity: Path | None, workers: int = 32) -> None:
        """Args:
        known_hosts: the only host keys that are trusted.
        identity: a private key; None leaves the choice to the agent and the default keys.
        workers: key exchanges at once.
        """
        self.known_hosts = known_hosts
        self.identity = identity
        self.workers = workers

    def observe(self, boards: Sequence[Board], *, deadline: float) -> Iterator[Reply]:
        """What each board runs now."""
        runtime = board_script.runtime_digest()

        def converse(board: Board, run: Run) -> Mapping[str, Any]:
            # Before its first release a board cannot know which Python is to serve.
            asked = {"python": board.python}
            key = kept_look.key(runtime, board.python)
            script = board_script.by_digest(board.root)
            given = wire.standard_input(script, {**asked, "keep": key})
            outcome = run(ask_command(board, "observe", script, kept=key), given)
            said = kept_look.parse(outcome.stdout)
            if said is None and kept_look.is_damaged(outcome):
                outcome = run(ask_command(board, "observe", script), given)
            return _answer(board, "observe", asked, outcome, run) if said is None else said

        return self._each(boards, converse, deadline)

    def probe(self, boards: Sequence[Board], *, deadline: float) -> Iterator[Reply]:
        """Golden samples through each board's serving process."""
        return self._ask(boards, "probe", {}, deadline)

    def logs(self, boards: Sequence[Board], *, lines: int, deadline: float) -> Iterator[Reply]:
        """The last lines of each board's service, as `{"lines": [...]}`."""
        return self._ask(boards, "logs", {"lines": lines}, deadline)

    def history(self, boards: Sequence[Board], *, last: int, deadline: float) -> Iterator[Reply]:
        """Each board's last receipts, as `{"receipts": [...]}`."""
        return self._ask(boards, "history", {"last": last}, deadline)

    def describe(
        self, boards: Sequence[Board], asked: Mapping[str, Mapping[str, Any]], *, deadline: float
    ) -> Iterator[Reply]:
        """What each board is, by a script that is always sent: a release on it may be older than the verb.

        `asked` holds the request of each board, by its name.
        """
        return self._sent(boards, "describe", lambda board: asked[board.name], deadline)

    def examine(self, boards: Sequence[Board], *, deadline: float) -> Iterator[Reply]:
        """What `fleetctl doctor` looks at; the script is always sent, as for `describe`."""
        return self._sent(boards, "examine", {}, deadline)

    def remedy(self, boards: Sequence[Board], *, step: str, deadline: float) -> Iterator[Reply]:
        """Take one rung of the ladder for a stuck accelerator; the only verb here that changes a board."""
        return self._sent(boards, "remedy", {"step": step}, deadline)

    def _sent(
        self, boards: Sequence[Board], verb: str, request: "Request", deadline: float
    ) -> Iterator[Reply]:
        def converse(board: Board, run: Run) -> Mapping[str, Any]:
            asked = request(board) if callable(request) else request
            return _parsed(board, verb, _send(board, verb, asked, run))

        return self._each(boards, converse, deadline)

    def run(self, boards: Sequence[Board], command: str, *, deadline: float) -> Iterator[Reply]:
        """Run a shell command on each board, as `{"exit": int or null, "stdout": str, "stderr": str}`.

        A command that ran is `OK` whatever its exit status, which is null where a signal ended it.
        """

        def converse(board: Board, run: Run) -> Mapping[str, Any]:
            outcome = run(user_command(board, command), b"")
            check_sudo(board, outcome)
            text = {
                "stdout": outcome.stdout.decode(errors="replace"),
                "stderr": outcome.stderr.decode(errors="replace"),
            }
            return {"exit": outcome.status, **text}

        return self._each(boards, converse, deadline)

    def _ask(
        self, boards: Sequence[Board], verb: str, request: "Request", deadline: float
    ) -> Iterator[Reply]:
        def converse(board: Board, run: Run) -> Mapping[str, Any]:
            asked = request(board) if callable(request) else request
            script = board_script.by_digest(board.root)  # all that is asked here is of every day
            outcome = run(ask_command(board, verb, script), wire.standard_input(script, asked))
            return _answer(board, verb, asked, outcome, run)

        return self._each(boards, converse, deadline)

    def _each(self, boards: Sequence[Board], converse: "Converse", deadline: float) -> Iterator[Reply]:
        """Have the same conversation with every board; replies come as boards answer."""
        trust = Trust.load(self.known_hosts, self.identity)
        known = KnownHosts.read(self.known_hosts)
        turns = threading.BoundedSemaphore(self.workers)

        def reply(board: Board) -> Reply:
            limit = Deadline(deadline)
            try:
                with connected(board, known.keys(board.host, board.port), trust, limit, turns) as run:
                    data = converse(board, run)
            except BoardFault as fault:
                return Reply(board.name, fault.status, error=fault.error, hint=fault.hint)
            return Reply(board.name, ReplyStatus.OK, data)

        return fan_out(boards, reply, _connections())


Converse = Callable[[Board, Run], Mapping[str, Any]]
Request = Mapping[str, Any] | Callable[[Board], Mapping[str, Any]]  # the same for all, or one for each


def _answer(
    board: Board, verb: str, asked: Mapping[str, Any], outcome: Outcome, run: Run
) -> Mapping[str, Any]:
    """The reply of a board that was asked by `ask_command`, or is asked again where that found nothing."""
    if outcome.status == NOT_KEPT:  # a release of another version, then
        outcome = run(ask_its_own_command(board, verb), canonical_json(dict(asked)))
    # A script that was damaged on the board dies of it without a word.
    if outcome.status == _NO_RELEASE or (outcome.status == 1 and not outcome.stdout.strip()):
        outcome = _send(board, verb, asked, run)
    return _parsed(board, verb, outcome)


def _send(board: Board, verb: str, request: Mapping[str, Any], run: Run) -> Outcome:
    script = board_script.whole(verb)
    return run(sent_script_command(board, verb, script), wire.standard_input(script, request))


def _parsed(board: Board, verb: str, outcome: Outcome) -> Mapping[str, Any]:
    check_sudo(board, outcome)
    if not outcome.stdout.strip() and outcome.status != 0:
        raise no_python(outcome.stderr.decode(errors="replace"), board) or _failure(verb, outcome)
    return wire.parse_reply(verb, outcome.stdout)


def ask_command(board: Board, verb: str, script: bytes, *, kept: str | None = None) -> str:
    """The shell line that runs a board verb with the modules that the board keeps, by a script that we send.

    It exits 93 where it keeps others, and 94 where it has no release. With `kept`, the board says again what
    it found when it was asked by that key, if that still is so.
    """
    ask, key = (_ASK, []) if kept is None else (kept_look.ASK + _ASK, [kept])
    return _as_root(board, ["sh", "-c", ask, "fleetctl", board.root, wire.launch(script), verb, *key])


def ask_its_own_command(board: Board, verb: str) -> str:
    """The shell line that runs a board verb with the release that the board has, whatever its version.

    It exits 94 where it has none: one that was left may keep modules of the version that left it.
    """
    return _as_root(board, ["sh", "-c", _ASK_ITS_OWN, "fleetctl", board.root, board.python, verb])


def sent_script_command(board: Board, verb: str, script: bytes) -> str:
    """The shell line that runs a board verb with the script that we send."""
    return _as_root(board, wire.command(verb, board.root, script))


def user_command(board: Board, command: str) -> str:
    """The shell line for a command of the user's own."""
    return _as_root(board, ["sh", "-c", command])


def _as_root(board: Board, argv: Sequence[str]) -> str:
    """One line for any login shell, which makes way for the command and so passes its end on unaltered."""
    return shlex.join(["exec", *(_SUDO if board.become else []), *argv])


def check_sudo(board: Board, outcome: Outcome) -> None:
    """Raise the board's refusal if it was sudo that answered, or its absence, in the command's place."""
    if not board.become or outcome.stdout:
        return
    said = outcome.stderr.decode(errors="replace")
    fault = None
    if outcome.status == 1:
        fault = refusal_of_sudo(said, board)
    elif outcome.status == _NO_PROGRAM and said.startswith("env:"):
        fault = no_sudo(said, board)
    if fault:
        raise fault


def _failure(verb: str, outcome: Outcome) -> BoardFault:
    """A board said nothing on standard output, where its reply belongs: what else is known."""
    said = outcome.stderr.decode(errors="replace")
    ended = "a signal ended it" if outcome.status is None else f"exit status {outcome.status}"
    words = wire.printable(said.strip().rpartition("\n")[2], 200)
    return BoardFault(ReplyStatus.FAILED, f"{verb}: {ended}" + (f": {words}" if words else ""))


def _connections() -> int:
    """How many connections at once the limit on open files allows; macOS grants a shell 256 files in all."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return _CONNECTIONS
    return max(1, min(_CONNECTIONS, (files - _FILES_OF_OUR_OWN) // _FILES_PER_CONNECTION))
