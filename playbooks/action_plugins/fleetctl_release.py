"""A board's release in one task: Ansible's connection carries the words of `fleetctl.transports.dialogue`."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shlex
import signal
import sys
import threading
import time
from pathlib import Path

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

from fleetctl.transports import board_script, wire
from fleetctl.transports.base import Reply, ReplyStatus
from fleetctl.transports.dialogue import carry_out
from fleetctl.transports.hostkeys import fault_of
from fleetctl.transports.orders import Goal, Work, reply_to_json, work_from_json
from fleetctl.transports.unable import killed, no_python, no_sudo, refusal_of_sudo

ARGUMENTS = {  # documented in ../library/fleetctl_release.py
    "state": {"type": "str", "choices": [goal.value for goal in Goal], "default": "released"},
    "manifest": {"type": "path"},
    "release": {"type": "str"},
    "reason": {"type": "str", "default": ""},
    "deadline": {"type": "float", "default": 300.0},
    "work": {"type": "str"},
}

_TICK = 0.2  # seconds between looks at the clock, the memory and the controller while a board is talking
_LOOK_UP = 1.0  # seconds between looks at whether Ansible is there
_LAST_WORDS = 2.0  # seconds in which a worker without Ansible may end by itself
_PRUNING = 30.0  # seconds that clearing up the store may take
_MEMORY = 64 << 20  # bytes that ssh's output may take in memory before the board counts as endless
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024  # of getrusage(2): bytes on macOS, KiB elsewhere


class ActionModule(ActionBase):
    """Asks the board in Ansible's own way, so that connection plugins and become work as everywhere."""

    TRANSFERS_FILES = False
    _requires_connection = True
    _supports_check_mode = False
    _supports_async = False

    def run(self, tmp=None, task_vars=None):
        """Bring the board to what the task says, and report the reply."""
        super().run(tmp, task_vars)
        if self._task.timeout:
            raise AnsibleActionFail("this action keeps its own deadline: remove the task keyword `timeout`")
        work = self._work(task_vars["inventory_hostname"])
        self._is_kept = board_script.is_kept(work.order.holding if work.order else None)
        self._until = time.monotonic() + work.deadline
        self._board, self._known_hosts = work.board, work.known_hosts
        self._ansible = task_vars.get("fleetctl_ansible", os.getppid())
        threading.Thread(target=_end_after, args=(self._ansible,), daemon=True).start()
        return _result(carry_out(work, self._ask))

    def _work(self, host: str) -> Work:
        _, arguments = self.validate_argument_spec(ARGUMENTS, required_one_of=[["work", "manifest"]])
        if arguments["work"]:
            return work_from_json(json.loads(arguments["work"]))
        return _work_by_hand(host, arguments)

    def _ask(self, verb, request, payload=b""):
        """One verb over Ansible's connection."""
        done = {"rc": board_script.NOT_KEPT}
        if self._is_kept and board_script.is_everyday(verb):
            done = self._execute(verb, board_script.by_digest(self._board.root), request, payload)
            self._is_kept = done["rc"] != board_script.NOT_KEPT
        if done["rc"] == board_script.NOT_KEPT:
            done = self._execute(verb, board_script.whole(verb), request, payload)
        if done["rc"] not in (0, 1) or not done["stdout"].strip():
            raise self._broken(verb, done["rc"], done["stderr"])
        if verb == "activate":
            self._is_kept = True  # they came with the release; a board that lacks them says so
        return wire.parse_reply(verb, done["stdout"].encode(errors="replace"))

    def _execute(self, verb, script, request, payload):
        command = wire.command(verb, self._board.root, script)
        stdin = wire.standard_input(script, request, payload)
        try:
            with _watch(verb, self._until, self._ansible), self._explained():
                return self._low_level_execute_command(
                    shlex.join(command), in_data=stdin, executable="/bin/sh"
                )
        except _Stop as stop:
            raise stop.fault from None

    @contextlib.contextmanager
    def _explained(self):
        """Ansible's ways of failing to ask, as faults."""
        try:
            yield
        except AnsibleConnectionFailure as error:
            raise fault_of(_ssh_words(error), self._board, self._known_hosts) from error
        except AnsibleError as error:
            raise fault_of(str(error), self._board, self._known_hosts) from error

    def _broken(self, verb, code, stderr):
        if code == _SSH_FAILED:  # a board's program may be denied permissions, too
            fault = fault_of(stderr, self._board, self._known_hosts)
            if fault.status is ReplyStatus.REFUSED:
                return fault
        for unable in (refusal_of_sudo, no_sudo, no_python):
            if fault := unable(stderr, self._board):
                return fault
        if fault := killed(verb, code, self._board):
            return fault
        said = wire.printable(stderr[-300:])
        return wire.BoardFault(
            ReplyStatus.FAILED, f"{verb}: the board's python3 ended with {code}: {said or 'no message'}"
        )


_SSH_FAILED = 255  # exit status of ssh where it is ssh that failed
_UNCONFIRMED = "a release that is not confirmed in time is reverted by the board itself"


def _ssh_words(error: AnsibleConnectionFailure) -> str:
    """What ssh said, without what Ansible says before it."""
    said = str(error)
    return said.partition(" ssh: ")[2] or said


class _Stop(BaseException):
    """Passes through Ansible's `except Exception` handlers, which would try again."""

    def __init__(self, fault: wire.BoardFault) -> None:
        self.fault = fault


@contextlib.contextmanager
def _watch(verb: str, until: float, ansible: int):
    """Stop ssh, and give up, at the deadline, when the board does not stop talking, or when Ansible is gone.

    Ansible's ssh connection has none of the three: it keeps whatever comes, for as long as it comes.
    `ansible` is the process that this worker was made by; it does not outlive fleetctl.
    """
    ceiling = _peak_memory() + _MEMORY

    def look(*_):
        if time.monotonic() > until:
            fault = wire.BoardFault(
                ReplyStatus.TIMED_OUT, f"{verb}: no answer within the deadline", _UNCONFIRMED
            )
        elif _peak_memory() > ceiling:
            fault = wire.BoardFault(
                ReplyStatus.FAILED, f"{verb}: the board does not stop talking", _UNCONFIRMED
            )
        elif os.getppid() != ansible:
            fault = wire.BoardFault(ReplyStatus.FAILED, f"{verb}: interrupted", _UNCONFIRMED)
        else:
            return
        signal.setitimer(signal.ITIMER_REAL, 0)
        _stop_children()
        raise _Stop(fault)

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, _TICK, _TICK)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _end_after(ansible: int) -> None:
    """End this worker and its ssh when Ansible is gone: workers hold each other's pipes and wait for good."""
    while os.getppid() == ansible:
        time.sleep(_LOOK_UP)
    time.sleep(_LAST_WORDS)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT


def _stop_children() -> None:
    """End the ssh client at work: an Ansible worker leads a process group with nothing else in it."""
    if os.getpgrp() == os.getpid():
        before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)
        signal.signal(signal.SIGTERM, before)


def _work_by_hand(host: str, arguments: dict) -> Work:
    """What a plain playbook asks for, looked up in the manifest."""
    from fleetctl.desired import desired_orders
    from fleetctl.errors import FleetError
    from fleetctl.manifest.loader import load
    from fleetctl.project import Project
    from fleetctl.revision import commit_of
    from fleetctl.signing.signing import open_signing
    from fleetctl.store import Lock

    goal = Goal(arguments["state"])
    project = Project(Path(arguments["manifest"]))
    try:
        fleet = load(project.manifest)
        board = fleet.boards[host]
        order, signed, release = None, None, arguments["release"]
        if goal is Goal.RELEASED:
            # Until this worker ends nothing is pruned of the store; those of other boards have it too.
            Lock(project.state / "playbook.lock", "a playbook", wait=_PRUNING, shared=True).acquire()
            (order,) = desired_orders(project, fleet, [host], commit_of(project), os.environ)
        elif goal is Goal.REVERTED and release and (signing := open_signing(project, fleet, os.environ)):
            signed = signing.sign(host, release, back_from=signing.serial)
    except FleetError as error:
        raise AnsibleActionFail(f"{error.message}; {error.hint}") from None
    deadline = order.deadline if order else arguments["deadline"]
    reason = arguments["reason"]
    return Work(board, goal, deadline, project.known_hosts, order, release, reason, signed=signed)


def _result(reply: Reply) -> dict:
    """The reply as a task's result: small for people; whole for fleetctl, as text closed to Ansible."""
    result = {"reply": reply_to_json(reply), "changed": False}
    if not reply.ok:
        down = reply.status in (ReplyStatus.UNREACHABLE, ReplyStatus.REFUSED)
        return {
            **result,
            "unreachable" if down else "failed": True,
            "msg": ". ".join(filter(None, (reply.error, reply.hint))),
        }
    if "description" in reply.data:  # of a board that was prepared
        return {**result, "changed": bool(reply.data.get("changed"))}
    state = wire.printable(reply.data.get("state"), 40)
    result.update(
        board_state=state,
        changed=state in ("confirmed", "reverted", "left") and not reply.data.get("stayed"),
        sent=reply.data.get("sent", 0),
    )
    judgement = reply.data.get("judgement")
    if judgement is None:
        return result
    result["reasons"] = [wire.printable(reason) for reason in judgement["reasons"]]
    if judgement["outcome"] != "passed":
        result.update(failed=True, msg=f"{state}: {'; '.join(result['reasons'])}")
    return result
