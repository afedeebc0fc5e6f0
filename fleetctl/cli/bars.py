"""A library's progress on the console."""

from collections.abc import Callable
from contextlib import ExitStack


class Bars:
    """The library's progress on the console: one bar a stage, the last one gone when the next begins."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.stage = ""
        self.done = 0
        self.advance: Callable[..., None]

    def __call__(self, stage: str, done: int, total: int) -> None:
        from fleetctl.report.console import talk

        if stage != self.stage or done < self.done:  # a stage of this name may come twice
            self.stack.close()
            self.stage, self.done = stage, 0
            self.advance = self.stack.enter_context(talk.progress(stage, total=total or None))
        self.advance(done - self.done, total=total or None)
        self.done = done
