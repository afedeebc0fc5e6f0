"""Whose processor time work on docker boards takes: the boards' own, its child processes', or the rest."""

import resource
from collections.abc import Callable

from msgspec import Struct

from benchmarks.docker_world import DockerWorld


class Shares(Struct, frozen=True):
    """Seconds of processor time, of all processors together."""

    boards: float
    children: float  # Ansible's processes and ssh clients, as far as they ended
    own: float  # of the process that asks

    @property
    def total(self) -> float:
        return self.boards + self.children + self.own


def shares_of(world: DockerWorld, work: Callable[[], object]) -> Shares:
    """What `work` took of each."""
    before = _spent(world)
    work()
    after = _spent(world)
    return Shares(after.boards - before.boards, after.children - before.children, after.own - before.own)


def _spent(world: DockerWorld) -> Shares:
    children, own = (
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF))
    )
    return Shares(world.processor_seconds(), children, own)
