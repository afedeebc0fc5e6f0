"""A library's progress on the console, and how long each of its stages took."""

import time
from collections.abc import Callable
from contextlib import ExitStack


class Bars:
    """The library's progress on the console: one bar a stage, the last one gone when the next begins."""

    def __init__(self, stack: ExitStack, clock: Callable[[], float] = time.monotonic) -> None:
        self.stack = stack
        self.clock = clock
        self.stage = ""
        self.done = 0
        self.advance: Callable[..., None]
        self._seconds: dict[str, float] = {}
        self._since = clock()

    def __call__(self, stage: str, done: int, total: int) -> None:
        from fleetctl.report.console import talk

        if stage != self.stage or done < self.done:  # a stage of this name may come twice
            self.stack.close()
            self._end()
            self.stage, self.done = stage, 0
            self.advance = self.stack.enter_context(talk.progress(stage, total=total or None))
        self.advance(done - self.done, total=total or None)
        self.done = done

    def took(self) -> str:
        """Minutes of each stage until the next began, `reader: draw 3.2 min, reader: train 41.0 min`.

        What is done for each variant counts together, such as `convert float32` and `convert int8`; so does
        what was resumed with what was not.
        """
        self._end()
        return ", ".join(f"{kind} {seconds / 60:.1f} min" for kind, seconds in self._seconds.items())

    def _end(self) -> None:
        now = self.clock()
        if self.stage:
            kind = _without_variant(self.stage.partition(",")[0])
            self._seconds[kind] = self._seconds.get(kind, 0.0) + now - self._since
        self._since = now


def _without_variant(stage: str) -> str:
    from fleetctl.manifest.schema import VariantName

    before, _, last = stage.rpartition(" ")
    return before if last in set(VariantName) else stage
