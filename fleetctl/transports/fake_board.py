"""A simulated board: answers the verbs of docs/board-protocol.md from a record, and does wrong as told.

It keeps what a real board keeps (blobs by digest, releases, the one on probation, receipts) and judges itself
with the same `judge`. It runs no model: it gives the contract's own golden answers, as fast as the budget
asks.
"""

import hashlib
import io
import json
import math
import tarfile
import time
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field

from fleetctl.device.bundle import Part
from fleetctl.device.delta import patched, size_made
from fleetctl.device.judge import FAILED, judge, quantile
from fleetctl.manifest.schema import Accelerator, Board
from fleetctl.store import canonical_json, sha256
from fleetctl.transports import fake_trust as trust
from fleetctl.transports.base import ReplyStatus
from fleetctl.transports.faults import Fault, Stage
from fleetctl.transports.wire import BoardFault, BoardSaidNo

_TEXT_LIMIT = 1 << 20  # bytes of a blob that is kept whole: configs and contracts, not models
_HISTORY = 50  # receipts kept
_HOT_C, _COOL_C = 86.0, 48.5
_UNBUDGETED_MS = 5.0


class Record(Struct):
    """What a simulated board remembers; plain JSON values, so that it can lie on disk."""

    calls: int = 0
    current: str | None = None
    good: str | None = None
    pending: dict[str, Any] | None = None  # release, previous, confirm_by
    started: float = 0.0
    booted: float = 0.0
    pid: int = 1000
    releases: dict[str, dict[str, str]] = field(default_factory=dict)  # digest -> path -> blob digest
    sizes: dict[str, int] = field(default_factory=dict)  # blobs that are here
    texts: dict[str, str] = field(default_factory=dict)  # those that are small JSON documents
    receipts: list[dict[str, Any]] = field(default_factory=list)  # oldest first
    trust: dict[str, Any] | None = None  # fleet, board, keys: PEM; None: it takes what it is brought
    serial: int | None = None  # the latest place in history that it confirmed


class FakeBoard:
    """One simulated board. `ask` is what a transport calls; `clock` gives seconds since the epoch."""

    def __init__(self, board: Board, record: Record, fault: Fault, clock: Callable[[], float]) -> None:
        self.board = board
        self.record = record
        self.fault = fault
        self._clock = clock
        self._is_dead = False

    def connect(self) -> None:
        """Once for each call of the transport, before anything is asked.

        Raises:
            BoardFault: the board cannot be reached, or refuses.
        """
        self.record.calls += 1
        if self.fault.unreachable or self.record.calls <= self.fault.flaky:
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
        return {
            "schema": "fleetctl.observation/v1",
            "current": current,
            "good": self.record.good,
            "pending": self.record.pending,
            "foreign": False,
            "files": {
                path: {"sha256": digest, "size": self.record.sizes[digest]}
                for path, digest in self.record.releases.get(current or "", {}).items()
            },
            "config": self._document(current, "config/serve.json"),
            "service": {"state": "running", "loaded": self._loaded()}
            if current
            else {"state": "absent", "loaded": None},
            "receipt": self.record.receipts[-1] if self.record.receipts else None,
            "health": self._health(),
            "trust": trust.described(self.record.trust, self.record.serial),
            "time": self._now(),
        }

    def examination(self) -> dict[str, Any]:
        """The reply to `examine`: a board without a fault, but for those that it is told to have."""
        has_tpu = self.board.accelerator is not Accelerator.NONE and not self.fault.no_accelerator
        return {
            "health": {**self._health(), "throttled_flags": 0x40004 if self.fault.hot else 0},
            "disk": {"total_bytes": 16 << 30, "free_bytes": 8 << 30, "read_only": False},
            "memory": {"total_bytes": 2 << 30, "free_bytes": 1 << 30},
            "cpus": 4,
            "clock": {"time": self._now(), "synchronized": True},
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
            receipt = self._prove(release, record.current, request, "confirmed")
            self._note(signed)
            return self._told("unchanged", self._keep(receipt))
        previous = record.pending["previous"] if record.pending else record.current
        self._serve(release)
        record.pending = {
            "release": release,
            "previous": previous,
            "confirm_by": self._clock() + float(request["confirm_timeout"]),
            "signed": signed,
        }
        receipt = self._keep(self._prove(release, previous, request, "pending"))
        if receipt["outcome"] == FAILED:
            return self._told(*self._go_back(""))
        self._is_dead = self.fault.dies_after_activate
        return self._told("pending", receipt)

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
        receipt = self._prove(
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
        return self._told(state, self._prove(current, None, order, state))

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
        reasons = [*receipt.get("reasons", []), *([reason] if reason else [])]
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
        for receipt in reversed(self.record.receipts):
            if receipt["state"] == "confirmed" and receipt["release"] != self.record.current:
                return str(receipt["release"])
        raise BoardSaidNo(
            "revert", "nothing-before", "this board holds no release from before the current one"
        )

    def _commit_of(self, release: str) -> str | None:
        commits = [r["commit"] for r in self.record.receipts if r["release"] == release]
        return commits[-1] if commits else None

    def _document(self, release: str | None, path: str) -> dict[str, Any]:
        digest = self.record.releases.get(release or "", {}).get(path, "")
        return dict(json.loads(self.record.texts.get(digest, "{}")))

    # evidence

    def _told(self, state: str, receipt: dict[str, Any]) -> dict[str, Any]:
        release = receipt["release"]
        terms = {
            "contract": self._document(release, "model/contract.json"),
            "smoke": self._document(release, "config/smoke.json"),
        }
        shown = {**receipt, "board": f"not-{self.board.name}"} if self.fault.lies else receipt
        return {"state": state, "current": self.record.current, "receipt": shown, **terms}

    def _prove(
        self, release: str, previous: str | None, order: Mapping[str, Any], state: str
    ) -> dict[str, Any]:
        contract, smoke = (
            self._document(release, "model/contract.json"),
            self._document(release, "config/smoke.json"),
        )
        answers = self._answers(contract, smoke)
        receipt = {
            "schema": "fleetctl.receipt/v1",
            "board": order["board"],
            "release": release,
            "previous": previous,
            "commit": order["commit"],
            "signed": order.get("signed"),
            "time": self._now(),
            "loaded": self._loaded(),
            "accelerator": self._accelerator(smoke),
            "runtime": {
                "python": "3.11.2",
                "tflite": "simulated",
                "numpy": "simulated",
                "machine": "simulated",
            },
            "answers": answers,
            "latency_ms": _latencies([answer["elapsed_ms"] for answer in answers]),
            "health": self._health(),
            "state": state,
        }
        ordered = {"board": order["board"], "release": release, "model_sha256": self._model(release)}
        judgement = judge(contract, smoke, receipt, ordered)
        return {**receipt, "outcome": judgement["outcome"], "reasons": judgement["reasons"]}

    def _answers(self, contract: Mapping[str, Any], smoke: Mapping[str, Any]) -> list[dict[str, Any]]:
        golden = contract.get("golden", [])
        wrong = math.ceil(self.fault.bad_answers * len(golden))
        elapsed = self._elapsed_ms(smoke)
        return [
            {**(_wrong(answer) if index < wrong else _right(answer)), "elapsed_ms": elapsed}
            for index, answer in enumerate(golden)
        ]

    def _elapsed_ms(self, smoke: Mapping[str, Any]) -> float:
        budget = smoke.get("max_p95_ms")
        if self.fault.slow is not None:
            return self.fault.slow
        if self.fault.hot:
            return 2.0 * (budget or _UNBUDGETED_MS)
        return budget / 2.0 if budget else _UNBUDGETED_MS

    def _accelerator(self, smoke: Mapping[str, Any]) -> dict[str, Any]:
        wanted = smoke.get("accelerator", "none")
        present = not self.fault.no_accelerator and (self.board.board.has_edge_tpu or wanted == "required")
        used = "edgetpu" if wanted != "none" and present else "cpu"
        if self.fault.wrong_accelerator:
            used = "cpu" if wanted == "required" else "none"
        return {"wanted": wanted, "used": used, "present": present}

    def _loaded(self) -> dict[str, Any]:
        current = self.record.current or ""
        return {
            "release": current,
            "model_sha256": self._model(current),
            "accelerator": self._accelerator(self._document(current, "config/smoke.json"))["used"],
            "pid": self.record.pid,
            "started": _utc(self.record.started),
        }

    def _model(self, release: str) -> str:
        return self.record.releases.get(release, {}).get("model/model.tflite", "")

    def _health(self) -> dict[str, Any]:
        return {
            "temperature_c": _HOT_C if self.fault.hot else _COOL_C,
            "throttled": self.fault.hot,
            "disk_free_bytes": 8 << 30,
            "memory_free_bytes": 1 << 30,
            "uptime_s": min(3600.0, self._clock() - self.record.booted),
            "load1": 0.1,
        }

    def _keep(self, receipt: dict[str, Any]) -> dict[str, Any]:
        self.record.receipts = [*self.record.receipts, receipt][-_HISTORY:]
        return receipt

    def _last_receipt(self) -> dict[str, Any]:
        return self.record.receipts[-1] if self.record.receipts else {}

    def _now(self) -> str:
        return _utc(self._clock())


def _right(golden: Any) -> dict[str, Any]:
    """What the serving process says where it agrees: a sign and its score, or a detector's whole scene."""
    if isinstance(golden, list):
        return {"detections": golden}
    return {"label": golden["label"], "score": golden["score"]}


def _wrong(golden: Any) -> dict[str, Any]:
    if isinstance(golden, list):
        return {"detections": [{"label": "WRONG", "score": 1.0, "box": [0.0, 0.0, 8.0, 8.0]}]}
    return {"label": "WRONG", "score": golden["score"]}


def _latencies(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"p50": quantile(values, 0.5), "p95": quantile(values, 0.95), "max": max(values)}


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
