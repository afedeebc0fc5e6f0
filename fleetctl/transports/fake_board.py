"""A simulated board: answers the verbs of docs/board-protocol.md from a record, and does wrong as told.

It keeps what a real board keeps (blobs by digest, releases, the one on probation, receipts) and judges itself
with the same `judge`. It runs no model: it gives the contract's own golden answers, as fast as the budget
asks.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from typing import Any

from fleetctl.device.begun import WORTH_KEEPING
from fleetctl.device.bundle import Part
from fleetctl.device.delta import patched, size_made
from fleetctl.device.judge import FAILED
from fleetctl.device.way_back import and_why, release_before, went_back
from fleetctl.manifest.schema import Accelerator, Board
from fleetctl.store import canonical_json, sha256
from fleetctl.transports import fake_trust as trust
from fleetctl.transports.base import ReplyStatus
from fleetctl.transports.fake_evidence import Evidence
from fleetctl.transports.fake_record import Record
from fleetctl.transports.faults import Fault, Stage
from fleetctl.transports.wire import BoardFault, BoardSaidNo

_TEXT_LIMIT = 1 << 20  # bytes of a blob that is kept whole: configs and contracts, not models
_HISTORY = 50  # receipts kept


class FakeBoard:
    """One simulated board. `ask` is what a transport calls; `clock` gives seconds since the epoch."""

    def __init__(self, board: Board, record: Record, fault: Fault, clock: Callable[[], float]) -> None:
        self.board = board
        self.record = record
        self.fault = fault
        self._clock = clock
        self._evidence = Evidence(board, record, fault, clock)
        self._is_dead = False

    def connect(self) -> None:
        """Once for each call of the transport, before anything is asked.

        Raises:
            BoardFault: the board cannot be reached, or refuses.
        """
        is_missed = self.record.calls < self.fault.flaky
        self.record.calls += is_missed  # and no more: the record of a board that is only looked at stays
        if self.fault.unreachable or is_missed:
            raise BoardFault(ReplyStatus.UNREACHABLE, "simulated: no connection")
        if self.fault.refused:
            raise BoardFault(
                ReplyStatus.REFUSED, "simulated: the host key is not known", "this board has `refused: true`"
            )
        self._wake()

    def ask(self, verb: str, request: Mapping[str, Any], payload: bytes = b"") -> dict[str, Any]:
        """The reply to one verb of the board protocol."""
        if self._is_dead:
            raise BoardFault(ReplyStatus.UNREACHABLE, "simulated: the connection broke")
        if self.fault.timed_out:
            raise BoardFault(ReplyStatus.TIMED_OUT, f"{verb}: simulated: no answer within the deadline")
        if self.fault.fail_stage == verb:
            raise BoardSaidNo(verb, "simulated", f"simulated: this board fails at {verb}")
        return {"ok": True, **self._answer(Stage(verb), request, payload)}

    def _answer(self, verb: Stage, request: Mapping[str, Any], payload: bytes) -> dict[str, Any]:
        match verb:
            case Stage.OBSERVE:
                return self._observe()
            case Stage.MISSING:
                return {"missing": [digest for digest in request["blobs"] if digest not in self.record.sizes]}
            case Stage.ACTIVATE:
                return self._activate(request, payload)
            case Stage.CONFIRM:
                return self._confirm(request["release"])
            case Stage.REVERT:
                if request.get("trial"):
                    return self._end_trial(str(request["trial"]), str(request["reason"]))
                return self._revert(request["to"], str(request["reason"]), request)
            case Stage.PROBE:
                return self._probe()
            case Stage.LOGS:
                return {"lines": self._log()[-int(request["lines"]) :]}
            case Stage.HISTORY:
                return {"receipts": self.record.receipts[-int(request["last"]) :]}

    def _wake(self) -> None:
        """What the board's own watcher has done meanwhile: revert what nobody confirmed in time."""
        pending = self.record.pending
        if pending and self._clock() >= pending["confirm_by"]:
            self._go_back("nobody confirmed the release in time")

    # the verbs

    def _observe(self) -> dict[str, Any]:
        current = self.record.current
        files = self.record.releases.get(current or "", {})
        large = [digest for digest, size in self.record.sizes.items() if size >= WORTH_KEEPING]
        return {
            "schema": "fleetctl.observation/v1",
            "current": current,
            "good": self.record.good,
            "pending": self.record.pending,
            "foreign": False,
            "files": {
                path: {"sha256": digest, "size": self.record.sizes[digest]} for path, digest in files.items()
            },
            "spare": sorted(set(large).difference(files.values())),
            "begun": {},
            "config": self._evidence.document(current, "config/serve.json"),
            "service": {"state": "running", "loaded": self._evidence.loaded()}
            if current
            else {"state": "absent", "loaded": None},
            "receipt": self.record.receipts[-1] if self.record.receipts else None,
            "health": self._evidence.health(),
            "trust": trust.described(self.record.trust, self.record.serial),
            "time": self._evidence.now(),
        }

    def examination(self) -> dict[str, Any]:
        """The reply to `examine`: a board without a fault, but for those that it is told to have."""
        has_tpu = self.board.accelerator is not Accelerator.NONE and not self.fault.no_accelerator
        return {
            "health": {**self._evidence.health(), "throttled_flags": 0x40004 if self.fault.hot else 0},
            "disk": {"total_bytes": 16 << 30, "free_bytes": 8 << 30, "read_only": False},
            "memory": {"total_bytes": 2 << 30, "free_bytes": 1 << 30},
            "cpus": 4,
            "clock": {"time": self._evidence.now(), "synchronized": True},
            "network": {"interfaces": [{"name": "eth0", "packets": 9, "errors": 0}], "default_route": True},
            "edge_tpus": [{"bus": "usb", "port": "1-1", "firmware": True}] if has_tpu else [],
            "service": {"manager": "simulated", "state": "active" if self.record.current else "inactive"},
        }

    def _manifest(self, said: str | Mapping[str, Any], digest: str) -> dict[str, Any]:
        """The files of a release, told whole or by what they change of one that is here."""
        if isinstance(said, str):
            return dict(json.loads(said)["files"])
        base = self.record.releases.get(said["base"], {})
        files = {path: {"sha256": sha, "size": self.record.sizes.get(sha)} for path, sha in base.items()}
        files = {path: ref for path, ref in {**files, **said["files"]}.items() if path not in said["without"]}
        if sha256(canonical_json({"schema": "fleetctl.release/v1", "files": files})) != digest:
            raise BoardSaidNo("activate", "unknown-base", "the release is not told by what this board has")
        return files

    def _activate(self, request: Mapping[str, Any], payload: bytes) -> dict[str, Any]:
        release, record = str(request["release"]), self.record
        signed = trust.demand(record.trust, request, release)
        trust.refuse_older(signed, record.serial, is_good=release == record.good)
        request = {**request, "signed": signed}
        self._take_in(payload)
        files = self._manifest(request["manifest"], release)
        absent = [path for path, ref in files.items() if ref["sha256"] not in record.sizes]
        if absent:
            raise BoardSaidNo("activate", "missing-blobs", f"{len(absent)} blobs of the release are not here")
        record.releases[release] = {path: ref["sha256"] for path, ref in files.items()}
        if record.pending is None and record.current == record.good == release:
            receipt = self._evidence.prove(release, record.current, request, "confirmed")
            self._note(signed)
            return self._evidence.told("unchanged", self._keep(receipt))
        previous = record.pending["previous"] if record.pending else record.current
        self._serve(release)
        record.pending = {
            "release": release,
            "previous": previous,
            "confirm_by": self._clock() + float(request["confirm_timeout"]),
            "signed": signed,
        }
        receipt = self._keep(self._evidence.prove(release, previous, request, "pending"))
        if receipt["outcome"] == FAILED:
            return self._evidence.told(*self._go_back(""))
        self._is_dead = self.fault.dies_after_activate
        return self._evidence.told("pending", receipt)

    def _confirm(self, release: str) -> dict[str, Any]:
        record = self.record
        if record.pending is None and record.good == record.current == release:
            return {"state": "confirmed", "current": release}
        if record.pending is None or record.pending["release"] != release:
            raise BoardSaidNo(
                "confirm", "not-pending", f"release {release[:12]} is not waiting to be confirmed"
            )
        self._note(record.pending.get("signed"))
        record.pending, record.good = None, release
        self._keep({**record.receipts[-1], "state": "confirmed"})
        return {"state": "confirmed", "current": release}

    def _end_trial(self, trial: str, reason: str) -> dict[str, Any]:
        pending = self.record.pending
        if pending and pending["release"] == trial:
            state, receipt = self._go_back(reason)
            return {"state": state, "current": self.record.current, "receipt": receipt}
        if self.record.current == trial:
            raise BoardSaidNo("revert", "not-pending", f"release {trial[:12]} is not on probation any more")
        return {"state": "reverted", "current": self.record.current, "receipt": self._last_receipt()}

    def _revert(self, to: str | None, reason: str, request: Mapping[str, Any]) -> dict[str, Any]:
        pending = self.record.pending
        if pending and to in (None, pending["previous"]):
            state, receipt = self._go_back(reason)
            return {"state": state, "current": self.record.current, "receipt": receipt}
        if to is None and went_back(self.record.receipts, self.record.current):
            receipt = self._last_receipt()
            return {"state": "reverted", "stayed": True, "current": self.record.current, "receipt": receipt}
        target = to or self._confirmed_before()
        if target not in self.record.releases:
            raise BoardSaidNo(
                "revert", "unknown-release", f"release {target[:12]} is no longer on this board"
            )
        signed = trust.demand(self.record.trust, request, target)
        trust.refuse_unasked(signed, self.record.serial)
        if self.fault.revert_fails:
            return {"state": "revert_failed", "current": self.record.current, "receipt": self._last_receipt()}
        left, self.record.pending = self.record.current, None
        self._serve(target)
        self.record.good = target
        receipt = self._evidence.prove(
            target,
            left,
            {"board": self.board.name, "commit": self._commit_of(target), "signed": signed},
            "confirmed",
        )
        self._note(signed)
        return {
            "state": "reverted",
            "current": target,
            "receipt": self._keep({**receipt, "reasons": [reason], "left": left}),
        }

    def _probe(self) -> dict[str, Any]:
        current = self.record.current
        if current is None:
            raise BoardSaidNo("probe", "nothing-active", "this board has no release")
        state = "confirmed" if self.record.good == current else "pending"
        order = {"board": self.board.name, "commit": self._commit_of(current)}
        return self._evidence.told(state, self._evidence.prove(current, None, order, state))

    def _log(self) -> list[str]:
        return [f"{r['time']} serving {r['release'][:12]}, {r['outcome']}" for r in self.record.receipts]

    def _note(self, signed: Mapping[str, Any] | None) -> None:
        if signed:
            self.record.serial = max(signed["serial"], self.record.serial or 0)

    # releases

    def _take_in(self, payload: bytes) -> None:
        if not payload:
            return
        with tarfile.open(fileobj=io.BytesIO(payload)) as tar:
            for member in tar:
                stream = tar.extractfile(member)
                data = stream.read() if stream else b""
                self._keep_member(member.name, data)

    def _keep_member(self, name: str, data: bytes) -> None:
        part = Part.of(name)
        if part is None or part.start or hashlib.sha256(data).hexdigest() != part.digest:
            raise BoardSaidNo("activate", "bad-bundle", f"blob {name[:12]} arrived damaged")
        if part.base is None:
            self._keep_blob(part.blob, data)
        elif part.base not in self.record.sizes:
            raise BoardSaidNo("activate", "unknown-base", f"blob {part.base[:12]} is not here")
        elif part.base in self.record.texts:
            self._keep_blob(part.blob, patched(self.record.texts[part.base].encode(), data, size_made(data)))
        else:  # of a model it keeps no more than the size
            self.record.sizes[part.blob] = size_made(data)

    def _keep_blob(self, digest: str, data: bytes) -> None:
        self.record.sizes[digest] = len(data)
        if data[:1] == b"{" and len(data) <= _TEXT_LIMIT:
            self.record.texts[digest] = data.decode()

    def remedy(self, step: str) -> dict[str, Any]:
        """One rung of the doctor's ladder: the service starts anew, after a boot where that is asked for."""
        if step == "reboot":
            self.record.booted = self._clock()
        if self.record.current:
            self._serve(self.record.current)
        return {"step": step, "done": f"simulated: {step}"}

    def _serve(self, release: str | None) -> None:
        self.record.current = release
        self.record.started = self._clock()
        self.record.pid += 1

    def _go_back(self, reason: str) -> tuple[str, dict[str, Any]]:
        """Leave the release on probation; the receipt about it ends `reverted`, or `revert_failed`."""
        pending = self.record.pending or {}
        receipt = self._last_receipt()
        reasons = and_why(receipt.get("reasons", []), reason)
        if self.fault.revert_fails:
            state, reasons = "revert_failed", [*reasons, "simulated: going back fails"]
        else:
            state = "reverted"
            self._serve(pending.get("previous"))
        self.record.pending = None
        return state, self._keep(
            {**receipt, "state": state, "reasons": reasons, "restored": self.record.current}
        )

    def _confirmed_before(self) -> str:
        if before := release_before(self.record.receipts, self.record.current):
            return before
        raise BoardSaidNo(
            "revert", "nothing-before", "this board holds no release from before the current one"
        )

    def _commit_of(self, release: str) -> str | None:
        commits = [r["commit"] for r in self.record.receipts if r["release"] == release]
        return commits[-1] if commits else None

    def _keep(self, receipt: dict[str, Any]) -> dict[str, Any]:
        self.record.receipts = [*self.record.receipts, receipt][-_HISTORY:]
        return receipt

    def _last_receipt(self) -> dict[str, Any]:
        return self.record.receipts[-1] if self.record.receipts else {}
