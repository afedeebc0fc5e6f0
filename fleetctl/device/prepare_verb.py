"""The verb `prepare`: from a board with Python and ssh to one that can take releases. Again: no change."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import Any, Dict, List, Mapping, Set

from .board_error import BoardError
from .bundle import LimitedReader, receive_members
from .call import Call, digest_of
from .commands import run
from .compiled import keep_compiled
from .describe_verb import describe
from .durable import atomic_write
from .environment import (
    WHEEL,
    disown,
    ensure_environment,
    environment_name,
    environment_path,
    is_in_use,
    is_sound,
    is_whole,
    loaded_environments,
)
from .files import names, sha256_file
from .layout import DIGEST, Board
from .pending import KEEPING, why_lapsed
from .records import Records
from .repaired import environment_before, linked
from .service_user import ensure_user, user_name
from .services import service_of
from .space import MARGIN_BYTES
from .trust import ensure_trust

# Google's rule for USB accelerators, before (1a6e) and after (18d1) they have their firmware.
UDEV_RULE = b"""\
# Lets members of plugdev use a Coral USB accelerator. Written by fleetctl.
SUBSYSTEM=="usb", ATTRS{idVendor}=="1a6e", ATTRS{idProduct}=="089a", GROUP="plugdev", MODE="0660"
SUBSYSTEM=="usb", ATTRS{idVendor}=="18d1", ATTRS{idProduct}=="9302", GROUP="plugdev", MODE="0660"
"""
TO_BE_PROVED = "release to be proved again"  # among what was changed: `fleetctl rollout` proves it
_UNPACKED = 6  # a wheel of compiled code takes about four times its own size unpacked


def prepare(call: Call) -> Dict[str, Any]:
    """Folders, service user, udev rule, interpreter with packages; each only where it is not so already."""
    wheels, sizes = wheels_of(call.request)
    changed: List[str] = []
    with call.lock("prepare"):
        os.chmod(call.board.root, 0o755)  # noqa: S103 - the service reads its release as another user
        user = user_name(call.request)
        if user and ensure_user(user):
            changed.append("service user %s" % user)
        if call.request.get("udev") is True and ensure_udev_rule(call.unit_folder):
            changed.append("udev rule")
        if wheels and prepare_environment(call, wheels, sizes):
            changed.append("python environment")
            if call.board.current is not None:
                changed.append(TO_BE_PROVED)
        if "trust" in call.request and ensure_trust(call.board, call.request["trust"]):
            changed.append("trusted keys")
        if "runtime" in call.request:
            keep_compiled(call.board, digest_of(call.request, "runtime"))
    return {"changed": changed, "description": describe(call)}


def wheels_of(request: Mapping[str, Any]) -> "tuple[Dict[str, str], Dict[str, int]]":
    """Digest and size of each wheel that the request names."""
    said = request.get("wheels", {})
    if not isinstance(said, dict):
        raise BoardError("bad-request", "wheels is not a mapping")
    digests, sizes = {}, {}
    for name, pair in said.items():
        if not WHEEL.match(name) or not isinstance(pair, list) or len(pair) != 2:
            raise BoardError("bad-request", "not a wheel: %.80r" % name)
        digest, size = pair
        if not isinstance(digest, str) or not DIGEST.match(digest):
            raise BoardError("bad-request", "%.80s has no digest" % name)
        if isinstance(size, bool) or not isinstance(size, int) or not 0 < size < 1 << 32:
            raise BoardError("bad-request", "%.80s has no size" % name)
        digests[name], sizes[name] = digest, size
    return digests, sizes


def prepare_environment(call: Call, wheels: Dict[str, str], sizes: Dict[str, int]) -> bool:
    board, name = call.board, environment_name(wheels)
    path, folder = environment_path(board, name), os.path.join(board.root, "wheelhouse")
    proof = proof_of(call.request)
    is_spoiled = is_whole(path) and not is_sound(path, proof)
    if is_spoiled or not is_in_use(board, name):
        refuse_on_probation(board)
        forget_earlier_deaths(call)
    if is_spoiled:
        disown(path)
    try:
        if not is_whole(path):
            drop_unfinished_environments(board)
            receive_wheels(call, folder, wheels, sizes)
        call.checkpoint("wheels-received")
        changed = ensure_environment(board, wheels, folder, proof, call.checkpoint)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # only a second copy, or what nobody will ask for again
    drop_old_environments(board, name)
    return changed


def proof_of(request: Mapping[str, Any]) -> str:
    proof = request.get("proof", "")
    if not isinstance(proof, str) or len(proof) > 1000:
        raise BoardError("bad-request", "proof is not a short statement")
    return proof


def receive_wheels(call: Call, folder: str, wheels: Dict[str, str], sizes: Dict[str, int]) -> None:
    demand_room(call.board.root, sum(sizes.values()) * _UNPACKED)
    os.makedirs(folder, exist_ok=True)
    bundle = call.request.get("bundle_bytes", 0)
    if isinstance(bundle, int) and bundle > 0:
        receive_members(LimitedReader(call.stream, bundle), folder, wheels, sizes)
    absent = [wheel for wheel in wheels if sha256_file(os.path.join(folder, wheel)) != wheels[wheel]]
    if absent:
        raise BoardError("missing-blobs", "%d wheels are not here: %s" % (len(absent), ", ".join(absent)))


def refuse_on_probation(board: Board) -> None:
    """Who confirms a release counts it as proved, and must not do so for an interpreter it never ran on."""
    pending = Records(board).pending
    if pending and (pending.get("phase") == KEEPING or not why_lapsed(board, pending)):
        raise BoardError(
            "busy",
            "release %s is on probation: prepare this board when that is over" % str(pending["release"])[:12],
        )


def forget_earlier_deaths(call: Call) -> None:
    """A service that keeps dying from now on does so with its next interpreter, and goes back to this one."""
    if call.board.current is not None:
        with contextlib.suppress(BoardError, OSError):  # it goes back sooner, then
            service_of(call.board, call.board.current, call.unit_folder).count_anew()


def drop_old_environments(board: Board, keep: str) -> None:
    """Remove those but the one of `venv`, the one before, that of the last proof, and any that a process
    still runs from: a service keeps the one that it was started with, however often `venv` changes meanwhile.
    """
    folder = os.path.join(board.root, "environments")
    others = [name for name in os.listdir(folder) if name not in {keep, *named_environments(board)}]
    others.sort(key=lambda name: os.stat(os.path.join(folder, name)).st_mtime)
    drop_unless_loaded(folder, others[:-1])


def drop_unfinished_environments(board: Board) -> None:
    """Remove what came of those that a loss of power or a refused package ended: it counts as nothing."""
    folder = os.path.join(board.root, "environments")
    unfinished = [name for name in names(folder) if not is_whole(os.path.join(folder, name))]
    drop_unless_loaded(folder, [name for name in unfinished if name not in named_environments(board)])


def named_environments(board: Board) -> Set[str]:
    """That of `venv`, and that of the last proof."""
    return {os.path.basename(link) for link in (linked(board), environment_before(board)) if link}


def drop_unless_loaded(folder: str, environments: List[str]) -> None:
    loaded = loaded_environments(folder) if environments else set()
    for name in environments:
        if name not in loaded:
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)


def demand_room(root: str, needed: int) -> None:
    free = shutil.disk_usage(root).free
    if free < needed + MARGIN_BYTES:
        raise BoardError(
            "no-space", "%d MiB of disk are free, the environment needs %d" % (free >> 20, needed >> 20)
        )


def ensure_udev_rule(unit_folder: str) -> bool:
    """The rule beside systemd's folder, so that tests have one of their own; true if it was not so."""
    folder = os.path.join(os.path.dirname(os.path.dirname(unit_folder)), "udev", "rules.d")
    path = os.path.join(folder, "60-fleetctl-edgetpu.rules")
    try:
        with open(path, "rb") as stream:
            if stream.read() == UDEV_RULE:
                return False
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)
    atomic_write(path, UDEV_RULE)
    if shutil.which("udevadm"):
        run(["udevadm", "control", "--reload"], "udev-failed", 30)
    return True
