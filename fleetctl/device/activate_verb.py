"""The verb `activate`: from a request and a bundle to a release on probation."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, Mapping, Optional

from .activation import CONFIRM_TIMEOUT_S, DEADLINE_S, Activation
from .blobs import missing_blobs
from .board_error import BoardError
from .bundle import ReadAhead, receive_blobs
from .call import Call, digest_of, number
from .compiled import keep_those_of
from .evidence import evidence_terms, prove
from .files import Json
from .records import Records
from .recovery import recover
from .release_files import FileRef, manifest_by_difference, parse_manifest, release_files
from .repaired import is_proof_demanded
from .snapshot import adopt
from .space import make_room
from .staging import stage
from .trust import demand_statement, note_serial, refuse_older
from .unit_files import unit_is_other


def activate(call: Call) -> Dict[str, Any]:
    """Take in a release, try it and prove it; it ends on probation, or reverted."""
    request, board = call.request, call.board
    digest, manifest = digest_of(request, "release"), request.get("manifest")
    if isinstance(manifest, dict):
        manifest = manifest_by_difference(board, manifest, digest)
    if not isinstance(manifest, str) or not isinstance(request.get("board"), str):
        raise BoardError("bad-request", "activate needs a board and a manifest")
    files = parse_manifest(manifest, digest)
    number(request, "deadline", DEADLINE_S), number(request, "confirm_timeout", CONFIRM_TIMEOUT_S)
    signed = demand_statement(board, request, digest)
    order = dict(request, signed=signed, told={})
    size = bundle_bytes(request)
    if size <= ReadAhead.LIMIT:
        call = call._replace(stream=ReadAhead(call.stream, size))
    with call.lock("activate"):
        activation = Activation.of(call)
        recover(activation)
        refuse_older(board, signed, digest)
        receive_release(call, digest, manifest, files)
        activation.service(digest).check()
        answer = prove_again(activation, digest, order) or activation.try_release(
            digest, activation.before(), order
        )
        terms = {} if request.get("brief") is True else evidence_terms(board, digest)
        return dict(answer, current=board.current, **terms)


def receive_release(call: Call, digest: str, manifest: str, files: Mapping[str, FileRef]) -> None:
    """Take in the blobs that came along and stage the release; nothing that runs is touched."""
    board, request = call.board, call.request
    pending = Records(board).pending
    keep = {board.current, board.good, pending.get("release"), pending.get("previous"), digest}
    absent = set(missing_blobs(board, (ref.sha256 for ref in files.values())))
    sizes = {ref.sha256: ref.size for ref in files.values()}

    def room_for(needed: int) -> None:
        make_room(board, needed, keep, wanted=sizes)

    room_for(sum(sizes[blob] for blob in absent) + 4096 * len(files) + Records.BALLAST_BYTES)
    adopt(board, unit_path(call, files), room_for, call.checkpoint)
    Records(board).prepare()
    if bundle_bytes(request):
        receive_blobs(board, call.stream, bundle_bytes(request), sizes, call.checkpoint)
    call.checkpoint("blobs-received")
    still_absent = missing_blobs(board, absent)
    if still_absent:
        raise BoardError("missing-blobs", "%d blobs of the release are not here" % len(still_absent))
    stage(board, digest, manifest, files, call.checkpoint)
    keep_those_of(board, digest)
    call.checkpoint("staged")


def bundle_bytes(request: Json) -> int:
    """How many bytes of a bundle follow a request."""
    size = request.get("bundle_bytes", 0)
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise BoardError("bad-request", "bundle_bytes is not a size")
    return size


def unit_path(call: Call, files: Mapping[str, FileRef]) -> Optional[str]:
    """Where the unit of a release goes, whichever manager it asks for."""
    units = [os.path.basename(path) for path in files if path.startswith("unit/")]
    return os.path.join(call.unit_folder, units[0]) if units else None


def prove_again(activation: Activation, digest: str, order: Json) -> Optional[Dict[str, Any]]:
    """The answer for a release that is current, good and loaded already; None for any other."""
    board = activation.board
    if (
        activation.records.pending
        or board.current != digest
        or board.good != digest
        or not activation.serves(digest)
        or is_proof_demanded(board)  # it may serve what was altered
        or unit_is_other(board, digest, release_files(board, digest), activation.unit_folder)
    ):
        return None
    limit = time.monotonic() + number(order, "deadline", DEADLINE_S)
    receipt = prove(board, digest, None, order, limit)
    receipt["state"] = "confirmed"
    note_serial(board, order["signed"])
    activation.records.keep(receipt, activation.checkpoint)
    return {"state": "unchanged", "receipt": receipt}
