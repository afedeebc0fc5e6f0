"""From a picture to a label: the contract, the one preprocessing, and one interpreter behind a lock."""

from __future__ import annotations

import threading
import time
from typing import Any, Dict, List, Mapping

import numpy as np

from . import preprocess
from .folder import ReleaseRefused
from .runtime import Engine
from .tensors import check_tensor

TOP = 5
UNKNOWN = "UNKNOWN"


class Reader:
    """Answers pictures one after the other."""

    def __init__(self, contract: Mapping[str, Any], engine: Engine, threshold: float) -> None:
        check_contract(contract, engine)
        self.engine = engine
        self._contract = contract
        self._labels: List[str] = [str(label) for label in contract["labels"]]
        self._threshold = threshold
        self._lock = threading.Lock()

    def read(self, picture: Any) -> Dict[str, Any]:
        """Classify uint8 (H, W) or (H, W, 3).

        Returns:
            `{"label", "score", "top": [{"label", "score"}], "elapsed_ms"}`; `elapsed_ms` is preprocessing and
            inference, without waiting for other requests. `label` is UNKNOWN where the best score lies under
            the threshold; `top[0]` is the model's own first choice.

        Raises:
            ArithmeticError: the model gave a score that is no number.
        """
        with self._lock:
            begun = time.perf_counter()
            tensor = preprocess.to_input(
                preprocess.prepare(picture, self._contract["preprocess"]), self._contract["input"]
            )
            scores = preprocess.from_output(self.engine.run(tensor)[0], self._contract["output"])
            elapsed = (time.perf_counter() - begun) * 1000.0
        if not np.all(np.isfinite(scores)):
            raise ArithmeticError("the model gave a score that is no number")
        best = np.argsort(-scores, kind="stable")[:TOP]
        top = [{"label": self._labels[i], "score": round(float(scores[i]), 6)} for i in best]
        label = top[0]["label"] if float(scores[best[0]]) >= self._threshold else UNKNOWN
        return {"label": label, "score": top[0]["score"], "top": top, "elapsed_ms": round(elapsed, 3)}


def check_contract(contract: Mapping[str, Any], engine: Engine) -> None:
    """Refuse a contract that belongs to another model.

    Raises:
        ReleaseRefused: says what differs.
    """
    if len(engine.outputs) != 1:
        raise ReleaseRefused("the model has %d outputs, a classifier has one" % len(engine.outputs))
    check_tensor("input", contract.get("input"), engine.input)
    check_tensor("output", contract.get("output"), engine.outputs[0])
    labels = contract.get("labels")
    outputs = int(np.prod(engine.outputs[0].shape))
    if not isinstance(labels, list) or len(labels) != outputs:
        count = len(labels) if isinstance(labels, list) else 0
        raise ReleaseRefused("the contract has %d labels, the model has %d outputs" % (count, outputs))
    if not isinstance(contract.get("preprocess"), dict):
        raise ReleaseRefused("the contract does not say how pictures are prepared")
