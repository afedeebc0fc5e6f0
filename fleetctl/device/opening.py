"""Opens the model of a release as its contract and its configuration want it."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Union

from .detector import Detector
from .folder import ReleaseFolder, ReleaseRefused
from .reader import Reader
from .runtime import load

Answering = Union[Reader, Detector]


def open_model(folder: ReleaseFolder, config: Mapping[str, Any]) -> Answering:
    """Load the model of a release as its `config/serve.json` wants it.

    Raises:
        ReleaseRefused: the contract is not one for this runtime, or does not fit the model.
        RuntimeRefused: the model cannot be loaded.
    """
    contract = folder.read_json("model/contract.json")
    task = contract.get("task")
    if task not in ("classification", "detection"):
        raise ReleaseRefused("this runtime serves classification and detection, not %.40s" % task)
    threads, threshold = config.get("threads", 1), _threshold(config)
    if not isinstance(threads, int) or not 0 < threads <= 256:
        raise ReleaseRefused("threads must be a positive number")
    accelerator = config.get("accelerator", "none")
    if accelerator not in ("none", "preferred", "required"):
        raise ReleaseRefused("accelerator must be none, preferred or required")
    engine = load(folder.read("model/model.tflite"), accelerator, threads)
    if task == "classification":
        return Reader(contract, engine, 0.0 if threshold is None else threshold)
    return Detector(contract, engine, threshold)


def _threshold(config: Mapping[str, Any]) -> Optional[float]:
    if "threshold" not in config:
        return None
    threshold = config["threshold"]
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)):
        raise ReleaseRefused("threshold must be a number")
    return float(threshold)
