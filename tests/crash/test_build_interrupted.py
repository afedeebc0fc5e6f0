"""Ctrl-C and SIGTERM at what a build asks of the system, and what a training leaves behind for the next."""

import itertools
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

import pytest
from toy_build import ToyStages, toy_fleet

from fleetctl.build.builder import build
from fleetctl.errors import BuildError
from fleetctl.manifest.schema import VariantName
from fleetctl.models.checkpoints import SUFFIX
from fleetctl.project import Project
from fleetctl.store import canonical_json, sha256

ENDLESS = 2000


def terminated(number: int, _: object) -> NoReturn:
    """What the command line does on SIGTERM."""
    sys.exit(128 + number)


def interrupted_at(step: int, sent: signal.Signals, work: Callable[[], object]) -> str:
    """How `work` ended in a child that got a signal at its `step`-th audited event: an exception's name."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        left = [step]
        ended = "another exception"

        def count(event: str, arguments: tuple[object, ...]) -> None:
            del event, arguments
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), sent)

        try:
            signal.signal(signal.SIGTERM, terminated)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.addaudithook(count)
            work()
            ended = "the end"
        except (KeyboardInterrupt, SystemExit) as exception:
            ended = type(exception).__name__
        finally:
            os.write(writing, ended.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        ended = stream.read()
    os.waitpid(child, 0)
    return ended


@pytest.mark.parametrize(
    ("first", "sent", "raised"),
    [(1, signal.SIGINT, "KeyboardInterrupt"), (2, signal.SIGTERM, "SystemExit")],
)
def test_a_build_interrupted_anywhere_goes_on(
    tmp_path: Path, first: int, sent: signal.Signals, raised: str
) -> None:
    """The interrupt passes through, no temporary file stays, and the next build locks the same artifacts."""
    fleet, project = toy_fleet(tmp_path / "reference")
    build(fleet, project, stages=ToyStages())
    expected = project.lockfile.read_bytes()
    places = (toy_fleet(tmp_path / str(number)) for number in itertools.count())
    for step in range(first, ENDLESS, 4):
        place = next(places)
        ended = interrupted_at(step, sent, lambda: build(*place, stages=ToyStages()))  # noqa: B023
        project = place[1]
        if ended == "the end":
            assert step > 20, "hardly anything was interrupted: this test tests nothing"
            return

        assert raised == ended, step
        for blob in project.store.glob("sha256/[!.]*"):
            assert sha256(blob.read_bytes()) == blob.name
        build(*place, stages=ToyStages())
        assert expected == project.lockfile.read_bytes()
    raise AssertionError("the build never ends")


def trained_json(tmp_path: Path) -> tuple[Callable[[ToyStages], object], Path]:
    """A build that failed after its training, and the note that it left of it."""
    fleet, project = toy_fleet(tmp_path)
    with pytest.raises(BuildError, match="int8 cannot be built"):
        build(fleet, project, stages=ToyStages(failing=[VariantName.INT8]))
    (note,) = project.state.glob("build/*/trained.json")
    return lambda stages: build(fleet, project, stages=stages), note


def relabelled(note: Mapping[str, object]) -> dict[str, object]:
    return {**note, "labels": ["G17", "M17"]}


def of_another_recipe(note: Mapping[str, object]) -> dict[str, object]:
    """A whole note that was made for another model: copied here, or restored from a wrong backup."""
    changed = {name: value for name, value in note.items() if name != "sha256"} | {"recipe": "0" * 64}
    return {**changed, "sha256": sha256(canonical_json(changed))}


def without_labels(note: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in note.items() if name != "labels"}


@pytest.mark.parametrize("change", [relabelled, of_another_recipe, without_labels])
def test_labels_never_part_from_their_head(
    tmp_path: Path, change: Callable[[Mapping[str, object]], dict[str, object]]
) -> None:
    """A note that does not belong to the weights beside it is not believed: training begins again."""
    again, note = trained_json(tmp_path)
    note.write_bytes(canonical_json(change(json.loads(note.read_bytes()))))
    stages = ToyStages()

    again(stages)

    assert "train" in stages.asked


def test_an_untouched_note_is_believed(tmp_path: Path) -> None:
    """Otherwise the test above would prove nothing."""
    again, _ = trained_json(tmp_path)
    stages = ToyStages()

    again(stages)

    assert "train" not in stages.asked


class KeptStages(ToyStages):
    """Stages whose training leaves a checkpoint, as real ones do."""

    def train(self, model, split, *, workdir, progress):  # type: ignore[no-untyped-def]
        (workdir / f"train{SUFFIX}").write_bytes(b"state")
        return super().train(model, split, workdir=workdir, progress=progress)


@pytest.mark.parametrize("failing", [[], [VariantName.INT8]], ids=["built", "failed later"])
def test_a_checkpoint_goes_when_the_network_is_noted(tmp_path: Path, failing: list[VariantName]) -> None:
    """From then on the weights themselves are what the next build goes on from."""
    fleet, project = toy_fleet(tmp_path)
    try:
        build(fleet, project, stages=KeptStages(failing=failing))
    except BuildError:
        assert failing

    assert_no_checkpoint(project)


def assert_no_checkpoint(project: Project) -> None:
    assert [] == list(project.state.glob(f"build/*/*{SUFFIX}"))
    assert len(list(project.state.glob("build/*/trained.json"))) == 1
