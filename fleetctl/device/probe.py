"""Asks the *serving process* the golden samples and reports what it said: evidence, not a judgement.

    python probe.py --release DIR    prints {loaded, accelerator, runtime, answers, latency_ms} as JSON

A model that loads well in a process of its own proves nothing about the process that serves.
"""

from __future__ import annotations

import json
import os
import sys
import types
from typing import Any, Dict, Iterator, List, Mapping, Sequence

if not __package__:  # a script beside its siblings: their folder is the package (PEP 366)
    __package__ = "fleetctl_device"
    sys.modules[__package__] = types.ModuleType(__package__)
    sys.modules[__package__].__path__ = [os.path.dirname(os.path.realpath(__file__))]
    sys.dont_write_bytecode = True  # a release folder holds what release.json says and nothing else

from . import npy, scenes
from .judge import quantile
from .service_line import LineFault, ServiceLine

PATIENCE_S = 30.0  # for one answer


class ProbeFailed(Exception):
    """The service cannot be asked."""


def samples(data: bytes) -> Iterator[bytes]:
    """Each golden sample of `golden.npy`, uint8 (samples, H, W), as a `.npy` file of its own.

    Raises:
        NpyError: the file holds something else.
    """
    shape, offset = npy.parse(data)
    if len(shape) != 3:
        raise npy.NpyError("golden samples must have shape (samples, H, W), not %s" % (shape,))
    count, height, width = shape
    size = height * width
    for start in range(offset, offset + count * size, size):
        yield npy.encode((height, width), data[start : start + size])


def collect(line: ServiceLine, golden: Sequence[bytes]) -> Dict[str, Any]:
    """Ask once to warm up, then each sample in turn, one at a time."""
    said = _ask(line, "GET", "/healthz")
    loaded = {key: said.get(key) for key in ("release", "model_sha256", "pid", "started")}
    for sample in golden[:1]:
        _ask(line, "POST", "/predict", sample)
    answers = [_answer(_ask(line, "POST", "/predict", sample), loaded) for sample in golden]
    return {
        "loaded": loaded,
        "accelerator": said.get("accelerator"),
        "runtime": said.get("runtime"),
        "answers": answers,
        "latency_ms": _latency(answers),
    }


def _ask(line: ServiceLine, method: str, path: str, body: bytes = b"") -> Dict[str, Any]:
    """One reply of the service, its errors too; a reply that is no JSON object is an error."""
    try:
        return line.ask(method, path, body)[1]
    except LineFault as fault:
        return {"error": str(fault)}


def _answer(reply: Mapping[str, Any], loaded: Mapping[str, Any]) -> Dict[str, Any]:
    """The model's own choice, whatever threshold is configured; an error where something else answered."""
    for key in ("release", "model_sha256", "pid"):
        if "error" not in reply and reply.get(key) != loaded[key]:
            return {"error": "answered by %s %s" % (key, reply.get(key))}
    if "error" not in reply and isinstance(reply.get("detections"), list):
        return {"detections": _scene(reply), "elapsed_ms": reply.get("elapsed_ms")}
    top = reply.get("top")
    if "error" in reply or not isinstance(top, list) or not top or not isinstance(top[0], dict):
        return {"error": str(reply.get("error", "no answer"))[:300]}
    return {"label": top[0].get("label"), "score": top[0].get("score"), "elapsed_ms": reply.get("elapsed_ms")}


def _scene(reply: Mapping[str, Any]) -> List[Any]:
    """All that a detector found, in fewer digits: receipts are kept, and sent over thin lines."""
    below = reply.get("below_threshold")
    return [_brief(one) for one in reply["detections"] + (below if isinstance(below, list) else [])]


def _brief(detection: Any) -> Any:
    read = scenes.read([detection], 1)
    if not read:
        return detection  # malformed, as the judge will find
    (label, score, box) = read[0]
    return {"label": label, "score": round(score, 4), "box": [round(side, 1) for side in box]}


def _latency(answers: Sequence[Mapping[str, Any]]) -> Dict[str, Any]:
    times: List[float] = [a["elapsed_ms"] for a in answers if isinstance(a.get("elapsed_ms"), (int, float))]
    if not times:
        return {"p50": None, "p95": None, "max": None}
    return {"p50": round(quantile(times, 0.5), 3), "p95": round(quantile(times, 0.95), 3), "max": max(times)}


def probe(release: str, until: float = float("inf")) -> Dict[str, Any]:
    """Evidence from the service of a release folder; `until` is when to give up, on the monotonic clock.

    Raises:
        ProbeFailed: the release has no golden samples or names no port.
    """
    try:
        with open(os.path.join(release, "model", "golden.npy"), "rb") as stream:
            golden = list(samples(stream.read()))
        with open(os.path.join(release, "config", "serve.json"), "rb") as stream:
            config = json.loads(stream.read().decode("utf-8"))
        line = ServiceLine(config.get("host", "127.0.0.1"), config["port"], PATIENCE_S, until)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProbeFailed("the release cannot be probed: %s" % error) from None
    try:
        return collect(line, golden)
    finally:
        line.close()


def main(argv: Sequence[str]) -> int:
    if len(argv) != 2 or argv[0] != "--release":
        sys.stderr.write("usage: probe.py --release DIR\n")
        return 2
    try:
        print(json.dumps(probe(argv[1])))
    except ProbeFailed as error:
        sys.stderr.write("probe: %s\n" % error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
