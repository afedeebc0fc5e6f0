"""How long work tells that it advances, without knowing who listens."""

from typing import Protocol


class Progress(Protocol):
    """Called with a stage's name (`download`, `train`, ...), what is done, and the whole; 0 means unknown."""

    def __call__(self, stage: str, done: int, total: int) -> None: ...


def silent(stage: str, done: int, total: int) -> None:
    """Tells nobody."""
