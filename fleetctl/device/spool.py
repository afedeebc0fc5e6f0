"""A folder that a camera drops pictures into; each gets its answer beside it, once."""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
import tempfile
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

from .talk import tell

PICTURES = (".png", ".pgm", ".ppm", ".npy")
SETTLE_S = 0.5  # a file that changed more recently may still be being written
POLL_S = 0.5
PUT_OFF_S = 60.0  # at most: an answer that cannot be written costs an inference each time that it is tried
ERRORS_KEPT = 1000  # a picture that was still being written is soon whole

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # nor for any other answer
_ALL = ""  # the name of all pictures


class Spool:
    """Answers `<name>` with `<name>.json`. A picture that has an answer is never read again.

    Only where its answer is an error, and it changed since, it is: a camera may pause in its midst.
    """

    def __init__(self, folder: str, answer: Callable[[bytes], Dict[str, Any]], size_limit: int) -> None:
        self._folder = folder
        self._answer = answer
        self._size_limit = size_limit
        self._last_error = ""
        self._errors: Dict[str, Tuple[int, int]] = {}  # how a picture looked that was answered with an error
        self._put_off = _PutOff()

    def watch(self, stop: threading.Event) -> None:
        """Answer what is dropped until told to stop; a folder that vanishes is waited for."""
        while not stop.wait(POLL_S):
            try:
                self.answer_all(time.time())
                if not self._put_off.names():
                    self._last_error = ""
            except OSError as error:
                if str(error) != self._last_error:
                    tell(sys.stderr, "serve: spool: %s" % error)
                self._last_error = str(error)

    def answer_all(self, now: float) -> int:
        """Answer every picture that has come to rest and has no answer yet; returns how many.

        What the disk refuses is put off, each time for longer.

        Raises:
            OSError: what the disk refused last; the other pictures are answered all the same, if it has room.
        """
        if _ALL in self._put_off:
            return 0
        answered, trouble = 0, None
        for name in self._waiting(now):
            try:
                self._answer_one(name)
                answered += 1
            except OSError as error:
                trouble = error
                if error.errno in _NO_ROOM:
                    self._put_off.add(_ALL)
                    break
                self._put_off.add(name)
            else:
                self._put_off.forget(_ALL, name)
        if trouble:
            raise trouble
        return answered

    def _waiting(self, now: float) -> Iterator[str]:
        present = set(os.listdir(self._folder))
        self._forget_all_but(present)
        for name in sorted(present):
            is_picture = name.lower().endswith(PICTURES) and not name.startswith(".")
            if is_picture and name not in self._put_off and self._is_new(name, present, now):
                yield name

    def _is_new(self, name: str, present: Set[str], now: float) -> bool:
        """Whether it has come to rest and has no answer, or only an error that was about something else."""
        is_answered, refused = "%s.json" % name in present, self._errors.get(name)
        if is_answered and not refused:
            return False
        try:
            found = os.lstat(os.path.join(self._folder, name))
        except FileNotFoundError:  # taken away meanwhile
            return False
        is_old = is_answered and _looks(found) == refused
        return not is_old and stat.S_ISREG(found.st_mode) and abs(now - found.st_mtime) >= SETTLE_S

    def _forget_all_but(self, present: Set[str]) -> None:
        for name in [name for name in self._errors if name not in present]:
            del self._errors[name]
        gone = set(self._put_off.names()) - present - {_ALL}
        self._put_off.forget(*gone)

    def _answer_one(self, name: str) -> None:
        with open(os.path.join(self._folder, name), "rb") as stream:
            found = os.fstat(stream.fileno())  # before it is read: what comes meanwhile is a change
            data = stream.read(self._size_limit) if found.st_size <= self._size_limit else None
        answer = self._said(data)
        self._write("%s.json" % name, answer)
        self._errors.pop(name, None)
        if "error" in answer:
            self._errors[name] = _looks(found)
            if len(self._errors) > ERRORS_KEPT:
                del self._errors[next(iter(self._errors))]

    def _said(self, data: Optional[bytes]) -> Dict[str, Any]:
        if data is None:
            return {"error": "the picture is larger than %d bytes" % self._size_limit}
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


class _PutOff:
    """What is to be left alone for a while, each time for twice as long."""

    def __init__(self) -> None:
        self._until: Dict[str, Tuple[float, float]] = {}  # on the monotonic clock, and for how long

    def names(self) -> List[str]:
        return list(self._until)

    def add(self, name: str) -> None:
        for_s = min(2 * self._until.get(name, (0.0, POLL_S))[1], PUT_OFF_S)
        self._until[name] = (time.monotonic() + for_s, for_s)

    def forget(self, *names: str) -> None:
        for name in names:
            self._until.pop(name, None)

    def __contains__(self, name: str) -> bool:
        return name in self._until and time.monotonic() < self._until[name][0]


def _looks(found: os.stat_result) -> Tuple[int, int]:
    return found.st_size, found.st_mtime_ns
