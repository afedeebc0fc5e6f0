"""The verb `leave`: give the board back to what ran on it before the first release."""

from __future__ import annotations

import copy
import os
import tarfile
from typing import Any, Dict, List

from .activation import Activation
from .board_error import BoardError
from .call import Call
from .durable import fsync_directory, fsync_file, remove
from .files import read_json
from .layout import Board
from .pending import REVERTING
from .recovery import recover, revert_lapsed
from .trust import NOTHING, demand_return


def leave(call: Call) -> Dict[str, Any]:
    """Undo the first adoption; what was cut short is finished by giving the verb again.

    A board that has nothing of ours to end stays as it is, for jobs that are run again.

    Raises:
        BoardError: `never-adopted`; `untrusted` or `older`, where leaving has to be signed for; or
            `revert-failed`, where the service of before does not come up.
    """
    reason = call.request.get("reason")
    said = reason[:500] if isinstance(reason, str) else "asked to leave"
    with call.lock("leave"):
        activation = Activation.of(call)
        recover(activation)
        if is_left(call.board):
            return {"state": "left", "stayed": True, "current": None, "snapshot": None, "restored": []}
        demand_return(call.board, call.request, NOTHING)
        adopted = read_json(call.board.in_state("adopted.json"))
        if not adopted:
            raise BoardError("never-adopted", "state/adopted.json does not say what ran here before")
        if activation.records.pending:
            revert_lapsed(activation, activation.records.pending, said)
        give_back(activation, said)
        restored = restore_absent(call.board, adopted)
        for name in ("good", "adopted.json"):  # in this order: the next adoption takes a snapshot of its own
            remove(call.board.in_state(name))
        fsync_directory(call.board.state)
    return {"state": "left", "current": None, "snapshot": adopted.get("snapshot"), "restored": restored}


def is_left(board: Board) -> bool:
    """Whether no release of ours runs here, nor anything is noted that leaving would bring back."""
    return board.current is None and not os.path.lexists(board.in_state("adopted.json"))


def give_back(activation: Activation, reason: str) -> None:
    """End our service, bring back unit and `current` of before; `recover` finishes it after a crash."""
    current = activation.board.current
    if current is None:
        return
    receipt = dict(activation.records.receipt or {}, release=current, previous=None, reasons=[reason])
    pending = {"release": current, "previous": None, "phase": REVERTING, "receipt": receipt}
    activation.records.write("pending.json", pending)
    activation.checkpoint("leaving")
    answer = activation.finish_revert(pending)
    if answer["state"] != "reverted":
        raise BoardError("revert-failed", "; ".join(answer["receipt"]["reasons"]))


def restore_absent(board: Board, adopted: Dict[str, Any]) -> List[str]:
    """Bring back from the snapshot what is no longer there; what somebody has changed since then stays.

    Returns the paths under the root that were brought back.
    """
    if not isinstance(adopted.get("snapshot"), str):
        return []
    root, restored = os.path.realpath(board.root), []
    with tarfile.open(adopted["snapshot"]) as tar:
        tar.extraction_filter = lambda member, _: member  # it is our own
        for member in tar:
            target = os.path.join(root, member.name)
            inside = os.path.realpath(os.path.dirname(target)) == os.path.dirname(target)
            ours = member.name.split("/")[0] not in adopted.get("foreign", [])
            if ours or not inside or os.path.lexists(target):
                continue
            restore(tar, member, root)
            restored.append(member.name)
    return restored


def restore(tar: tarfile.TarFile, member: tarfile.TarInfo, root: str) -> None:
    """Extract one member; a file gets its name once it is whole on the disk: half of one would stay so."""
    if not member.isreg():
        tar.extract(member, root, numeric_owner=True)
        return
    aside = copy.copy(member)
    aside.name = os.path.join(os.path.dirname(member.name), ".new.restored")
    path = os.path.join(root, aside.name)
    remove(path)  # of an earlier try, or a link that leads elsewhere
    tar.extract(aside, root, numeric_owner=True)
    fsync_file(path)
    os.rename(path, os.path.join(root, member.name))
