"""What a simulated board can show: its receipts, the process it serves with, and its health."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from fleetctl.device.clock import utc_of
from fleetctl.device.judge import judge, quantile
from fleetctl.manifest.schema import Board
from fleetctl.transports.fake_record import Record
from fleetctl.transports.faults import Fault

_HOT_C, _COOL_C = 86.0, 48.5
_UNBUDGETED_MS = 5.0


class Evidence(Struct, frozen=True):
    """What the board's process would say: by the contract's own golden answers, or wrong as told."""

    board: Board
    record: Record
    fault: Fault
    clock: Callable[[], float]  # seconds since the epoch

    def told(self, state: str, receipt: dict[str, Any]) -> dict[str, Any]:
        """The reply to a verb that proved a release, with what it was judged by."""
        release = receipt["release"]
        terms = {
            "contract": self.document(release, "model/contract.json"),
            "smoke": self.document(release, "config/smoke.json"),
        }
        shown = {**receipt, "board": f"not-{self.board.name}"} if self.fault.lies else receipt
        return {"state": state, "current": self.record.current, "receipt": shown, **terms}

    def prove(
        self, release: str, previous: str | None, order: Mapping[str, Any], state: str
    ) -> dict[str, Any]:
        """The receipt of a release that is asked its golden questions."""
        contract, smoke = (
            self.document(release, "model/contract.json"),
            self.document(release, "config/smoke.json"),
        )
        answers = self._answers(contract, smoke)
        receipt = {
            "schema": "fleetctl.receipt/v1",
            "board": order["board"],
            "release": release,
            "previous": previous,
            "commit": order["commit"],
            "signed": order.get("signed"),
            "time": self.now(),
            "loaded": self.loaded(),
            "accelerator": self._accelerator(smoke),
            "runtime": {
                "python": "3.11.2",
                "tflite": "simulated",
                "numpy": "simulated",
                "machine": "simulated",
            },
            "answers": answers,
            "latency_ms": _latencies([answer["elapsed_ms"] for answer in answers]),
            "health": self.health(),
            "state": state,
        }
        ordered = {"board": order["board"], "release": release, "model_sha256": self._model(release)}
        judgement = judge(contract, smoke, receipt, ordered)
        return {**receipt, "outcome": judgement["outcome"], "reasons": judgement["reasons"]}

    def loaded(self) -> dict[str, Any]:
        """What the serving process says it serves."""
        current = self.record.current or ""
        return {
            "release": current,
            "model_sha256": self._model(current),
            "accelerator": self._accelerator(self.document(current, "config/smoke.json"))["used"],
            "pid": self.record.pid,
            "started": utc_of(self.record.started),
        }

    def health(self) -> dict[str, Any]:
        """Vital signs, as `device/vitals.py` has them."""
        return {
            "temperature_c": _HOT_C if self.fault.hot else _COOL_C,
            "throttled": self.fault.hot,
            "disk_free_bytes": 8 << 30,
            "memory_free_bytes": 1 << 30,
            "uptime_s": min(3600.0, self.clock() - self.record.booted),
            "load1": 0.1,
        }

    def document(self, release: str | None, path: str) -> dict[str, Any]:
        """A JSON document of a release; empty where there is none."""
        digest = self.record.releases.get(release or "", {}).get(path, "")
        return dict(json.loads(self.record.texts.get(digest, "{}")))

    def now(self) -> str:
        return utc_of(self.clock())

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

    def _model(self, release: str) -> str:
        return self.record.releases.get(release, {}).get("model/model.tflite", "")


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
