"""From a picture to the signs on it: its tiles through one interpreter, within bounds of size and time."""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from . import boxes, detection_terms
from .folder import ReleaseRefused
from .runtime import Engine
from .tensors import check_tensor, which

TILE_LIMIT = 512
TIME_LIMIT_S = 25.0  # less than the 30 s that a caller such as the probe waits


class PictureTooLarge(ValueError):
    """The picture has more tiles than one request may ask for."""


class TookTooLong(RuntimeError):
    """The picture was given up, so that others get their turn."""


class Detector:
    """Answers pictures one after the other.

    Args:
        threshold: the score from which on a detection is told; by default the contract's own `min_score`.
        time_limit_s: how long one picture may keep others waiting.

    Raises:
        ReleaseRefused: the contract is malformed or belongs to another model.
    """

    def __init__(
        self,
        contract: Mapping[str, Any],
        engine: Engine,
        threshold: Optional[float] = None,
        time_limit_s: float = TIME_LIMIT_S,
    ) -> None:
        self._scores, self._boxes = outputs_of(contract, engine)
        self.engine = engine
        spec = contract["detection"]
        own = float(spec["min_score"])
        self._threshold = own if threshold is None else threshold
        self._contract = dict(contract, detection=dict(spec, min_score=min(own, self._threshold)))
        self._time_limit_s = time_limit_s
        self._lock = threading.Lock()

    def read(self, picture: Any) -> Dict[str, Any]:
        """Find signs on uint8 (H, W) or (H, W, 3).

        Returns:
            `{"detections": [{"label", "score", "box": [x0, y0, x1, y1]}], "below_threshold": [...], "tiles",
            "elapsed_ms"}`, each list by falling score, boxes in pixels of the picture. `below_threshold` is
            what scores under the configured threshold and yet over the contract's own. `elapsed_ms` is
            preprocessing, inference and boxes of all tiles, without waiting for other requests.

        Raises:
            ArithmeticError: the model gave a score or a box that is no number.
            PictureTooLarge: it has more than `TILE_LIMIT` tiles; nothing was computed.
            TookTooLong: the time limit passed before the last tile.
        """
        count = self._count_tiles(picture)
        with self._lock:
            begun = time.perf_counter()
            found = boxes.detect(picture, self._contract, self._within(begun + self._time_limit_s, count))
            elapsed = (time.perf_counter() - begun) * 1000.0
        told: List[Dict[str, Any]] = []
        kept_back: List[Dict[str, Any]] = []
        for one in found:
            answer = {"label": one["sign"], "score": one["score"], "box": one["box"]}
            (told if one["score"] >= self._threshold else kept_back).append(answer)
        return {
            "detections": told,
            "below_threshold": kept_back,
            "tiles": count,
            "elapsed_ms": round(elapsed, 3),
        }

    def _count_tiles(self, picture: Any) -> int:
        height, width = self._contract["preprocess"]["shape"][:2]
        overlap = self._contract["detection"]["overlap"]
        count = len(boxes.tiles(picture.shape[0], picture.shape[1], height, width, overlap))
        if count > TILE_LIMIT:
            raise PictureTooLarge("the picture has %d tiles, more than %d" % (count, TILE_LIMIT))
        return count

    def _within(self, deadline: float, count: int) -> Callable[[Any], Tuple[Any, Any]]:
        """One inference after the other until the deadline."""
        done = 0

        def run(tensor: Any) -> Tuple[Any, Any]:
            nonlocal done
            if time.perf_counter() > deadline:
                raise TookTooLong("%d of %d tiles were read in %.0f s" % (done, count, self._time_limit_s))
            done += 1
            results = self.engine.run(tensor)
            return results[self._scores], results[self._boxes]

        return run


def outputs_of(contract: Mapping[str, Any], engine: Engine) -> Tuple[int, int]:
    """Which of the model's outputs are the scores and the boxes.

    Raises:
        ReleaseRefused: the contract is malformed, or does not fit the model.
    """
    try:
        detection_terms.check(contract)
    except detection_terms.TermsRefused as error:
        raise ReleaseRefused("model/contract.json: %s" % error) from None
    if len(engine.outputs) != 2:
        count = "1 output" if len(engine.outputs) == 1 else "%d outputs" % len(engine.outputs)
        raise ReleaseRefused("the model has %s, a detector has two" % count)
    check_tensor("input", contract["input"], engine.input)
    return which("output", contract["output"], engine.outputs), which(
        "boxes", contract["boxes"], engine.outputs
    )
