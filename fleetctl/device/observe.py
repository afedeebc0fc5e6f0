"""The verb `observe`: what this board runs and how it is. It changes nothing, and may keep what it found."""

from __future__ import annotations

import os
from typing import Any, Dict, Mapping, Optional

from .alterations import alterations
from .begun import begun
from .blobs import spare_blobs
from .call import Call
from .clock import utc
from .compiled import kept_runtime
from .files import Json, sha256_file, to_json
from .foreign import foreign_names
from .healthz import healthz, state_of
from .kept_look import ground, keep_look
from .records import Records
from .release_files import FileRef, release_files
from .repaired import is_proof_demanded
from .survey import survey
from .trust import described_trust
from .unit_files import unit_changes, unit_of
from .vitals import health

CONFIG_LIMIT = 16 << 10


def observe(call: Call) -> Dict[str, Any]:
    board = call.board
    current = board.current
    wanted = release_files(board, current) if current else {}
    python = interpreter_of(call, current)
    key = call.request.get("keep")
    if current is None or not isinstance(key, str):
        return look(call, current, wanted, python)
    unit = unit_of(board, current, wanted)
    stood = ground(board, python, unit, call.unit_folder)
    reply = look(call, current, wanted, python)
    # The link, again: it may have changed before `stood` was taken, on a busy board seconds later.
    if board.current == current and ground(board, python, unit, call.unit_folder) == stood:
        keep_look(board, stood, hashed_files(call, current, wanted, unit), key, reply)
    return reply


def hashed_files(
    call: Call, digest: str, wanted: Mapping[str, FileRef], unit: Optional[str]
) -> Dict[str, str]:
    """The sha256 that each file of the release has by rights, and its unit where that is installed."""
    hashed = {path: ref.sha256 for path, ref in wanted.items()}
    hashed["release.json"] = digest
    if unit:
        hashed[os.path.join(call.unit_folder, unit)] = wanted["unit/%s" % unit].sha256
    return hashed


def look(call: Call, current: Optional[str], wanted: Mapping[str, FileRef], python: str) -> Dict[str, Any]:
    board = call.board
    records = Records(board)
    files: Dict[str, Any] = {}
    altered: Dict[str, Any] = {}
    units: Dict[str, Any] = {}
    config: Dict[str, Any] = {}
    if current:
        folder = board.release(current)
        found = {path: sha256_file(os.path.join(folder, path)) for path in wanted}
        files = {
            path: {"sha256": found[path], "size": ref.size} for path, ref in wanted.items() if found[path]
        }
        altered = alterations(board, current, wanted, found)
        config = board.config(current, "config/serve.json")
        units = unit_changes(board, current, wanted, call.unit_folder)
    return {
        "schema": "fleetctl.observation/v1",
        "current": current,
        "good": board.good,
        "pending": records.pending or None,
        "repaired": is_proof_demanded(board),
        "foreign": bool(foreign_names(board)),
        "files": files,
        "spare": spare_blobs(board, {ref.sha256 for ref in wanted.values()}),
        "begun": begun(board),
        "modules": kept_runtime(board),
        "altered": altered,
        "units": units,
        "config": config if len(to_json(config)) <= CONFIG_LIMIT else None,
        "service": service_state(current, config),
        "receipt": records.receipt,
        "health": health(board.root),
        "trust": described_trust(board),
        "platform": survey(python),
        "time": utc(),
    }


def interpreter_of(call: Call, current: Optional[str]) -> str:
    """The Python that is to serve, says the controller; else the present release; else the usual one."""
    said = call.request.get("python")
    if isinstance(said, str) and said:
        return said
    own = call.board.config(current, "config/service.json").get("python") if current else None
    return str(own or os.path.join(call.board.root, "venv", "bin", "python"))


def service_state(current: Optional[str], config: Json) -> Dict[str, Any]:
    return {"state": "absent", "loaded": None} if current is None else state_of(healthz(config))
