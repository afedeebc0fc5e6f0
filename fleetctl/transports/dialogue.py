"""What is said to one board to bring it to a release, whatever carries the words.

    missing -> activate -> judge here -> confirm, or revert

A board that was looked at before is not asked what it lacks: it said what it has. A blob that replaces one
of those is sent as what is other in it, and one of which a part came before, as the rest.
The evidence is judged on this side against the contract that was sent, never against one the board shows.
Confirming follows at once: a board waits only `confirm_timeout` before it goes back by itself.
"""

import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from fleetctl.delta import Delta
from fleetctl.device.begun import WORTH_KEEPING
from fleetctl.device.judge import PASSED, judge
from fleetctl.errors import BuildError
from fleetctl.release import Release
from fleetctl.store import BlobStore
from fleetctl.transports.base import Order, Reply, ReplyStatus
from fleetctl.transports.orders import Goal, Preparation, Work
from fleetctl.transports.parcel import Lacking, Member, common_blobs, deltas_of, is_plain, plain, thrifty
from fleetctl.transports.wire import BoardFault, BoardSaidNo, deflate_members

_HAS_LESS = ("missing-blobs", "unknown-base")


class Ask(Protocol):
    """Sends one verb to a board and returns its reply; raises `BoardFault` when there is none to use."""

    def __call__(self, verb: str, request: Mapping[str, Any], payload: bytes = b"") -> Mapping[str, Any]: ...


def carry_out(work: Work, ask: Ask) -> Reply:
    """Bring the board behind `ask` to what `work` says; every way this can end is a reply."""
    try:
        return Reply(work.board.name, ReplyStatus.OK, _do(work, ask))
    except BoardFault as fault:
        return fault.reply(work.board.name)
    except BuildError as error:
        return Reply(work.board.name, ReplyStatus.FAILED, error=error.message, hint=error.hint)


def _do(work: Work, ask: Ask) -> Mapping[str, Any]:
    match work.goal:
        case Goal.RELEASED:
            if work.order is None:
                raise ValueError("a release needs an order")
            return release_to(work.order, ask)
        case Goal.CONFIRMED:
            return ask("confirm", {"release": work.release})
        case Goal.REVERTED:
            return ask("revert", {"to": work.release, "reason": work.reason, **_signature(work)})
        case Goal.LEFT:
            return ask("leave", {"reason": work.reason, **_signature(work)})
        case Goal.PREPARED:
            if work.preparation is None:
                raise ValueError("preparing a board needs to know what for")
            return prepare(work.preparation, ask)


def _signature(work: Work) -> dict[str, str]:
    return work.signed.request if work.signed else {}


def release_to(order: Order, ask: Ask) -> dict[str, Any]:
    """Put `order` on the board behind `ask`, and leave it confirmed or reverted.

    Returns the board's reply to `activate`, its `state` as it ended: `confirmed`, `unchanged`, `reverted` or
    `revert_failed`; with `sent` (bytes of the bundle) and `judgement` (of `device.judge`) added.

    Raises:
        BoardFault: the board could not be asked, or declined.
        BuildError: a blob of the release is absent here, or altered.
    """
    blobs, deltas = BlobStore(order.blobs), deltas_of(order)
    presumed = presumably_lacking(order)
    lacking = presumed or _lacking(order.release, deltas, ask)
    members = thrifty(blobs, lacking, deltas)
    try:
        return _send(order, ask, members, short=presumed is not None)
    except BoardSaidNo as no:
        if no.code not in _HAS_LESS and (no.code != "bad-bundle" or is_plain(members)):
            raise
    # It has less than it had, or what it has is not what it was: all that it lacks, then, as it is.
    return _send(order, ask, plain(blobs, _lacking(order.release, {}, ask).blobs))


def foresee(orders: Iterable[Order]) -> None:
    """Deflate what several boards will be sent, once, in the process that is forked for each of them."""
    deflate_members(_tar(common_blobs(orders)))


def presumably_lacking(order: Order) -> Lacking | None:
    """What a board lacks, by what was seen of it; None where nobody has looked, or it did not say all."""
    holding = order.holding
    if holding is None or holding.begun is None:
        return None
    wanted = {ref.sha256 for ref in order.release.files.values()}
    return Lacking(wanted - holding.blobs, begun=holding.begun)


def _send(order: Order, ask: Ask, members: Sequence[Member], *, short: bool = False) -> dict[str, Any]:
    """Have it tried and proved; `short` says what the release is by what the board was seen to run.

    Not with a large bundle, which a board that has that no more would be sent in vain.
    """
    bundle = _tar(members)
    is_short = short and len(bundle) < WORTH_KEEPING
    manifest = _difference(order) if is_short else order.release.manifest.decode()
    try:
        return _prove(order, ask, manifest, bundle)
    except BoardFault as fault:
        if fault.status is not ReplyStatus.UNREACHABLE:
            raise
        # It was there a moment ago: silent half-way is not offline, the release may have brought it down.
        raise BoardFault(ReplyStatus.TIMED_OUT, f"lost half-way: {fault.error}", fault.hint) from fault


def prepare(preparation: Preparation, ask: Ask) -> Mapping[str, Any]:
    """Make the board behind `ask` fit to take releases. Returns its reply to the verb `prepare`."""
    # A few words first: they tell whether it has the wheels, and settle how the script travels.
    said = ask("describe", {"user": preparation.request.get("user", "")})
    described = said.get("environment")
    wanted = {name: digest for name, (digest, _) in preparation.request["wheels"].items()}
    # One made by another Python is made anew, though the wheels be the same: their names do not tell 3.11.2.
    made_of = {"wheels": wanted, "python": said.get("python")}
    has_them = isinstance(described, dict) and made_of.items() <= described.items()
    if has_them:
        try:
            return ask("prepare", {**preparation.request, "bundle_bytes": 0})
        except BoardSaidNo as no:
            if no.code != "missing-blobs":
                raise
        # Its environment says that it was made of them, and no longer works.
    bundle = _tar((path.name, path.read_bytes()) for path in preparation.wheels)
    return ask("prepare", {**preparation.request, "bundle_bytes": len(bundle)}, bundle)


def _difference(order: Order) -> Mapping[str, Any] | str:
    """The manifest of an order's release by what it changes of the board's own; whole where that has none."""
    if order.holding is None or order.holding.release is None:
        return order.release.manifest.decode()
    seen, wanted = order.holding.files, order.release.files
    changed = {path: ref for path, ref in wanted.items() if seen.get(path) != ref.sha256}
    return {
        "base": order.holding.release,
        "files": {path: {"sha256": ref.sha256, "size": ref.size} for path, ref in changed.items()},
        "without": sorted(seen.keys() - wanted.keys()),
    }


def _prove(order: Order, ask: Ask, manifest: Mapping[str, Any] | str, bundle: bytes) -> dict[str, Any]:
    ordered, contract, smoke = terms(order)
    reply = dict(ask("activate", _activate_request(order, manifest, len(bundle)), bundle))
    receipt = reply.get("receipt")
    judgement = judge(contract, smoke, receipt if isinstance(receipt, dict) else {}, ordered)
    if reply.get("state") == "pending":
        reply.update(_settle(order, judgement, ask))
        reply["receipt"] = {**receipt, "state": reply["state"]} if isinstance(receipt, dict) else receipt
    return {**reply, "sent": len(bundle), "judgement": judgement}


def terms(order: Order) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
    """What was ordered, the contract and the smoke budget: from the very bytes that are sent."""
    files, blobs = order.release.files, BlobStore(order.blobs)
    ordered = {
        "board": order.board.name,
        "release": order.release.digest,
        "model_sha256": files["model/model.tflite"].sha256,
    }
    contract, smoke = (
        json.loads(blobs.get(files[path].sha256)) for path in ("model/contract.json", "config/smoke.json")
    )
    return ordered, contract, smoke


def _lacking(release: Release, deltas: Mapping[str, Delta], ask: Ask) -> Lacking:
    """What the board says that it lacks of a release and of what patches are for, and what came of that.

    Raises:
        BoardFault: it did not say.
    """
    ours = {ref.sha256 for ref in release.files.values()}
    bases = {delta.base for delta in deltas.values()}
    reply = ask("missing", {"blobs": sorted(ours | bases)})
    said, begun = reply.get("missing"), reply.get("begun")
    if not isinstance(said, list) or not all(isinstance(digest, str) for digest in said):
        raise BoardFault(ReplyStatus.FAILED, "missing: the board did not say which blobs it lacks")
    return Lacking(ours.intersection(said), bases.intersection(said), _sizes(begun))


def _sizes(begun: object) -> dict[str, int]:
    """What a board says that it has a part of; nothing where it says something else."""
    if not isinstance(begun, dict):
        return {}
    return {name: size for name, size in begun.items() if type(size) is int and size > 0}


def _tar(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Files as an uncompressed tar, in their order; no bytes at all for no files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        end = stream.tell() + 2 * tarfile.BLOCKSIZE if stream.tell() else 0
    return stream.getvalue()[:end]  # without the padding to a tape's record of ten KiB


def _activate_request(order: Order, manifest: Mapping[str, Any] | str, bundle_bytes: int) -> dict[str, Any]:
    return {
        "board": order.board.name,
        "release": order.release.digest,
        "manifest": manifest,
        "bundle_bytes": bundle_bytes,
        "commit": order.commit,
        "confirm_timeout": order.confirm_timeout,
        "deadline": order.deadline,
        "brief": True,  # what it is judged by is here
        **(order.signed.request if order.signed else {}),
    }


def _settle(order: Order, judgement: Mapping[str, Any], ask: Ask) -> dict[str, Any]:
    """Tell a board with a release on probation to keep it or to go back; returns how that ended."""
    if judgement["outcome"] == PASSED:
        said = ask("confirm", {"release": order.release.digest})
    else:
        said = _end_trial(order.release.digest, "; ".join(judgement["reasons"]), ask)
    return {key: said.get(key) for key in ("state", "current")}


def _end_trial(release: str, reason: str, ask: Ask) -> Mapping[str, Any]:
    """Names the release: a board that went back by itself meanwhile is to stay where it is."""
    try:
        return ask("revert", {"to": None, "trial": release, "reason": reason})
    except BoardSaidNo:
        return {"state": "revert_failed"}
