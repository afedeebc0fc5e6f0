"""A folder that a camera drops pictures into; each gets its answer beside it, once."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
import tempfile
import threading
import time
from typing import Any, Callable, Dict, Iterator

from .talk import tell

PICTURES = (".png", ".pgm", ".ppm", ".npy")
SETTLE_S = 0.5  # a file that changed more recently may still be being written
POLL_S = 0.5


class Spool:
    """Answers `<name>` with `<name>.json`. A picture that has an answer is never read again."""

    def __init__(self, folder: str, answer: Callable[[bytes], Dict[str, Any]], size_limit: int) -> None:
        self._folder = folder
        self._answer = answer
        self._size_limit = size_limit
        self._last_error = ""

    def watch(self, stop: threading.Event) -> None:
        """Answer what is dropped until told to stop; a folder that vanishes is waited for."""
        while not stop.wait(POLL_S):
            try:
                self.answer_all(time.time())
                self._last_error = ""
            except OSError as error:
                if str(error) != self._last_error:
                    tell(sys.stderr, "serve: spool: %s" % error)
                self._last_error = str(error)

    def answer_all(self, now: float) -> int:
        """Answer every picture that has come to rest and has no answer yet; returns how many.

        Raises:
            OSError: what the disk refused last; the other pictures are answered all the same.
        """
        answered, trouble = 0, None
        for name in self._waiting(now):
            try:
                self._write("%s.json" % name, self._read_and_answer(name))
                answered += 1
            except OSError as error:
                trouble = error
        if trouble:
            raise trouble
        return answered

    def _waiting(self, now: float) -> Iterator[str]:
        present = set(os.listdir(self._folder))
        for name in sorted(present):
            if (
                name.lower().endswith(PICTURES)
                and not name.startswith(".")
                and "%s.json" % name not in present
            ):
                with contextlib.suppress(FileNotFoundError):  # taken away meanwhile
                    found = os.lstat(os.path.join(self._folder, name))
                    if stat.S_ISREG(found.st_mode) and abs(now - found.st_mtime) >= SETTLE_S:
                        yield name

    def _read_and_answer(self, name: str) -> Dict[str, Any]:
        path = os.path.join(self._folder, name)
        if os.path.getsize(path) > self._size_limit:
            return {"error": "the picture is larger than %d bytes" % self._size_limit}
        with open(path, "rb") as stream:
            data = stream.read(self._size_limit)
        try:
            return self._answer(data)
        except Exception as error:  # noqa: BLE001 - its answer, whatever it was: nobody else reads pictures
            return {"error": str(error) or type(error).__name__}

    def _write(self, name: str, answer: Dict[str, Any]) -> None:
        handle, aside = tempfile.mkstemp(prefix=".new.", dir=self._folder)
        try:
            with os.fdopen(handle, "w") as stream:
                json.dump(answer, stream)
            os.chmod(aside, 0o644)
            os.rename(aside, os.path.join(self._folder, name))
        except BaseException:
            os.unlink(aside)
            raise
