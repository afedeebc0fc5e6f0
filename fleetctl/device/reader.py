"""From a picture to a label: the contract, the one preprocessing, and one interpreter behind a lock."""

from __future__ import annotations

import math
import threading
import time
from typing import Any, Dict, List, Mapping

import numpy as np

from . import preprocess
from .folder import ReleaseFolder, ReleaseRefused
from .runtime import Engine, TensorInfo, load

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
            scores = preprocess.from_output(self.engine.run(tensor), self._contract["output"])
            elapsed = (time.perf_counter() - begun) * 1000.0
        if not np.all(np.isfinite(scores)):
            raise ArithmeticError("the model gave a score that is no number")
        best = np.argsort(-scores, kind="stable")[:TOP]
        top = [{"label": self._labels[i], "score": round(float(scores[i]), 6)} for i in best]
        label = top[0]["label"] if float(scores[best[0]]) >= self._threshold else UNKNOWN
        return {"label": label, "score": top[0]["score"], "top": top, "elapsed_ms": round(elapsed, 3)}


def open_reader(folder: ReleaseFolder, config: Mapping[str, Any]) -> Reader:
    """Load the model of a release as its `config/serve.json` wants it.

    Raises:
        ReleaseRefused: the contract is not one for this runtime, or does not fit the model.
        RuntimeRefused: the model cannot be loaded.
    """
    contract = folder.read_json("model/contract.json")
    if contract.get("task") != "classification":
        raise ReleaseRefused("this runtime serves classification, not %.40s" % contract.get("task"))
    threads, threshold = config.get("threads", 1), config.get("threshold", 0.0)
    if not isinstance(threads, int) or not 0 < threads <= 256:
        raise ReleaseRefused("threads must be a positive number")
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)):
        raise ReleaseRefused("threshold must be a number")
    accelerator = config.get("accelerator", "none")
    if accelerator not in ("none", "preferred", "required"):
        raise ReleaseRefused("accelerator must be none, preferred or required")
    return Reader(contract, load(folder.read("model/model.tflite"), accelerator, threads), float(threshold))


def check_contract(contract: Mapping[str, Any], engine: Engine) -> None:
    """Refuse a contract that belongs to another model.

    Raises:
        ReleaseRefused: says what differs.
    """
    _check_tensor("input", contract.get("input"), engine.input)
    _check_tensor("output", contract.get("output"), engine.output)
    labels = contract.get("labels")
    outputs = int(np.prod(engine.output.shape))
    if not isinstance(labels, list) or len(labels) != outputs:
        count = len(labels) if isinstance(labels, list) else 0
        raise ReleaseRefused("the contract has %d labels, the model has %d outputs" % (count, outputs))
    if not isinstance(contract.get("preprocess"), dict):
        raise ReleaseRefused("the contract does not say how pictures are prepared")


def _check_tensor(end: str, said: Any, found: TensorInfo) -> None:
    try:
        wanted = TensorInfo(
            tuple(said["shape"]), said["dtype"], float(said["scale"]), int(said["zero_point"])
        )
    except (KeyError, TypeError, ValueError):
        raise ReleaseRefused("the contract does not describe the model's %s" % end) from None
    same_scale = math.isclose(wanted.scale, found.scale, rel_tol=1e-6)
    if not same_scale or wanted._replace(scale=found.scale) != found:
        raise ReleaseRefused(
            "the model's %s is %s, the contract says %s" % (end, _shown(found), _shown(wanted))
        )


def _shown(tensor: TensorInfo) -> str:
    return "%s %s (scale %.6g, zero point %d)" % (
        tensor.dtype,
        list(tensor.shape),
        tensor.scale,
        tensor.zero_point,
    )
