"""A process killed at any step: what a user would have lost, and what must be left instead.

The child kills itself at the n-th thing it asks of the operating system (Python's audit events: open, rename,
chmod, mkdir, ...), for every n there is, with the real code and nothing patched.
"""

import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toy_build import ToyStages, toy_fleet

from fleetctl import lockfile
from fleetctl.artifact import verify_artifact
from fleetctl.build.builder import build
from fleetctl.store import BlobStore, Journal, atomic_write

ENDLESS = 2000


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Run `work` in a child that is killed at its `step`-th audited event; False once it ends before that."""
    child = os.fork()
    if child == 0:
        left = [step]

        def count(event: str, arguments: tuple[object, ...]) -> None:
            del event, arguments
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(count)
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def every_step(work: Callable[[], object]) -> Iterator[int]:
    """Kill `work` at each step in turn, yielding after each kill, until it survives."""
    for step in range(1, ENDLESS):
        if not killed_at(step, work):
            assert step > 1, "the child was never killed: this test tests nothing"
            return
        yield step
    raise AssertionError("the work never ends")


def test_a_write_is_whole_or_not_at_all(tmp_path: Path) -> None:
    """A half-written state file would lose both the old state and the new."""
    path = tmp_path / "state.json"
    new = b"new" * 100_000

    for _ in every_step(lambda: atomic_write(path, new)):
        assert path.read_bytes() in (b"old", new) if path.exists() else True
        path.write_bytes(b"old")

    assert path.read_bytes() == new


def test_a_blob_is_whole_or_absent(tmp_path: Path) -> None:
    """A half-written blob under its full name would be sent to boards."""
    store = BlobStore(tmp_path)
    data = b"weights" * 10_000

    for _ in every_step(lambda: store.put(data)):
        for blob in store.root.glob("sha256/[0-9a-f]*"):
            store.verify(blob.name)
            blob.unlink()

    assert len(list(store.root.glob("sha256/[0-9a-f]*"))) == 1


def test_a_journal_keeps_every_record_it_confirmed(tmp_path: Path) -> None:
    """An append that was killed may be lost; those before it, and the next one, are not."""
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append({"n": 0})

    for step in every_step(lambda: journal.append({"half": "x" * 50})):
        journal.append({"n": step})

        numbers = [record["n"] for record in journal.read() if "n" in record]
        assert numbers == list(range(step + 1))


@pytest.mark.parametrize("cut", range(1, 24))
def test_a_journal_cut_anywhere_loses_the_last_record_only(tmp_path: Path, cut: int) -> None:
    """After a power cut the last line may be any part of itself."""
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append({"n": 1})
    whole = journal.path.stat().st_size
    journal.append({"n": 2, "why": "ḥtp-dj-nsw"})
    os.truncate(journal.path, whole + cut)

    assert list(journal.read()) == [{"n": 1}]
    journal.append({"n": 3})
    assert list(journal.read()) == [{"n": 1}, {"n": 3}]


def test_a_build_killed_anywhere_can_be_run_again(tmp_path: Path) -> None:
    """The lock is absent or whole, what it names is in the store, and the next build ends where it should."""
    fleet, project = toy_fleet(tmp_path / "reference")
    build(fleet, project, stages=ToyStages())
    expected = project.lockfile.read_bytes()
    places = (toy_fleet(tmp_path / str(number)) for number in itertools.count())
    place = next(places)

    def work() -> None:
        build(*place, stages=ToyStages())

    for _ in every_step(work):
        fleet, project = place
        locked = lockfile.read(project.lockfile).models
        for variant in (variant for model in locked.values() for variant in model.variants.values()):
            verify_artifact(variant.artifact, BlobStore(project.store))

        work()
        assert project.lockfile.read_bytes() == expected
        place = next(places)
