"""The model of one release as the service asks it, and what the service says of itself."""

from __future__ import annotations

import os
import threading
import time
from typing import Any, Dict

from . import images
from .folder import ReleaseFolder
from .metrics import Metrics
from .opening import Answering

DRAIN_S = 3.0


class ServedModel:
    """What every request needs: the model, and who we are."""

    def __init__(self, folder: ReleaseFolder, model: Answering) -> None:
        started = time.time()
        self.model = model
        self.identity: Dict[str, Any] = {
            "release": folder.digest,
            "model_sha256": folder.sha256("model/model.tflite"),
            "accelerator": model.engine.used,
            "pid": os.getpid(),
        }
        self.health: Dict[str, Any] = dict(
            self.identity,
            status="ok",
            runtime=model.engine.versions(),
            started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        )
        info = {key: str(self.identity[key]) for key in ("release", "model_sha256", "accelerator")}
        self.metrics = Metrics(info, started)
        self.stopping = threading.Event()
        self._turn = threading.Lock()  # a large picture takes most of the memory that the unit allows
        self._at_work = 0
        self._idle = threading.Condition()

    def predict(self, body: bytes) -> Dict[str, Any]:
        """The answer to one picture; raises what `images.decode` and the model's `read` raise."""
        with self._turn:
            answer = self.model.read(images.decode(body))
        self.metrics.took(answer["elapsed_ms"])
        return dict(answer, **self.identity)

    def __enter__(self) -> None:
        with self._idle:
            self._at_work += 1

    def __exit__(self, *_: object) -> None:
        with self._idle:
            self._at_work -= 1
            self._idle.notify_all()

    def drain(self) -> None:
        """Wait for requests under way, not for connections that merely stay open."""
        with self._idle:
            self._idle.wait_for(lambda: not self._at_work, DRAIN_S)
