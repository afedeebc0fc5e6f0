"""A first build: what it locks, the photos it learns from, and what it proves itself by."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from toy_build import (
    EVERYTHING,
    SIGNS,
    ToyStages,
    artifact_of,
    blob_path,
    locked_toy,
    remodelled,
    toy_fleet,
    toy_model,
)

from fleetctl import lockfile
from fleetctl.artifact import GOLDEN_FILE, Contract
from fleetctl.build.builder import build, check
from fleetctl.build.resolve import load_artifact
from fleetctl.build.stages import Measured
from fleetctl.errors import BuildError, LockStale, UsageError
from fleetctl.manifest.schema import Architecture, ArchitectureName, Model, Task, VariantName, WallsDataset
from fleetctl.models.margins import GoldenSet
from fleetctl.models.progress import Progress
from fleetctl.models.reader import Trained
from fleetctl.models.samples import Samples, Split


def test_a_first_build_locks_what_it_made(tmp_path: Path) -> None:
    """Model, contract and golden samples lie in the store, under the digests that the lock names."""
    fleet, project = toy_fleet(tmp_path)
    stages = ToyStages()

    result = build(fleet, project, stages=stages)

    contract, model = load_artifact(project, fleet, "toy", "int8")
    golden = np.load(blob_path(project, GOLDEN_FILE), allow_pickle=False)
    assert stages.asked == EVERYTHING
    assert [model.reason for model in result.models] == ["not built yet"]
    assert result.lock_changed
    assert model == b"trainedint8"
    assert golden.shape == (6, 6, 4) and golden.dtype == np.uint8
    assert len(contract.golden) == 6 and set(SIGNS) == {answer.label for answer in contract.golden}
    assert contract.score_tolerance == 0.12


def test_a_contract_reads_back_as_it_was_written(tmp_path: Path) -> None:
    """Nothing is lost between the build host and a board."""
    fleet, project = toy_fleet(tmp_path)
    build(fleet, project, stages=ToyStages())
    contract, _ = load_artifact(project, fleet, "toy", "int8")

    assert contract == Contract.from_json(contract.to_json())
    assert json.loads(contract.to_json())["labels"] == list(SIGNS)


def test_float32_is_measured_but_not_kept_when_not_listed(tmp_path: Path) -> None:
    """Drops are against float32 even where no board may run it."""
    fleet, project = toy_fleet(tmp_path)

    build(fleet, project, stages=ToyStages(wrong={VariantName.INT8: {"G17": 3}}))

    metrics = locked_toy(project).variants["int8"].metrics
    assert list(locked_toy(project).variants) == ["int8"]
    assert pytest.approx(metrics.drop, abs=1e-6) == 3 / 36
    assert lockfile.ClassDrop("G17", 0.25) == metrics.worst_class


def test_the_same_inputs_give_the_same_artifact(tmp_path: Path) -> None:
    """Two clones that build the same recipe lock the same digests."""
    digests = set()
    for clone in ("one", "two"):
        fleet, project = toy_fleet(tmp_path / clone)
        build(fleet, project, stages=ToyStages())
        digests.add((locked_toy(project).input_digest, artifact_of(project).digest))

    assert len(digests) == 1


def test_only_the_models_asked_for_are_built(tmp_path: Path) -> None:
    """The others wait."""
    fleet, project = toy_fleet(tmp_path, toy_model(), replace(toy_model(), name="other"))

    build(fleet, project, models=["other"], stages=ToyStages())

    assert list(lockfile.read(project.lockfile).models) == ["other"]


def test_an_unknown_model_is_a_usage_error(tmp_path: Path) -> None:
    """A model the manifest does not have cannot be built."""
    fleet, project = toy_fleet(tmp_path)

    with pytest.raises(UsageError, match="the manifest has no model 'tory'"):
        build(fleet, project, models=["tory"], stages=ToyStages())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"task": Task.DETECTION}, "model toy: the dataset is not one for detection"),
        (
            {
                "task": Task.DETECTION,
                "dataset": WallsDataset(),
                "architecture": Architecture(ArchitectureName.SSD_MOBILENET_V1, input=(224, 224, 1)),
                "variants": (VariantName.INT8_QAT,),
            },
            "model toy: the variant int8-qat of a detection model cannot be built",
        ),
    ],
    ids=["dataset", "variant"],
)
def test_what_cannot_be_built_is_said_first(tmp_path: Path, change: dict[str, object], says: str) -> None:
    """Nobody waits through a training to learn it; the real stages say so before TensorFlow is imported."""
    fleet, project = toy_fleet(tmp_path)

    with pytest.raises(BuildError, match=says):
        build(remodelled(fleet, **change), project)

    assert not list(project.state.glob("build/*"))


class CutOutStages(ToyStages):
    """Photos of as many sizes as there are; the model is less sure of what has another size than 12x8."""

    def load(self, model: Model, *, base: Path, cache: Path, progress: Progress) -> Split:
        split = super().load(model, base=base, cache=cache, progress=progress)
        images = [np.full((6, 4 + number), 5, np.uint8) for number in range(len(split.evaluation))]
        return replace(split, evaluation=replace(split.evaluation, images=images))

    def measure(self, tflite: bytes, trained: Trained, samples: Samples, *, progress: Progress) -> Measured:
        measured = super().measure(tflite, trained, samples, progress=progress)
        odd = [image.shape != (12, 8) for image in samples.images]
        return replace(measured, scores=measured.scores - 0.125 * np.array(odd, np.float32)[:, None])


def test_photos_of_many_sizes_prove_as_much_as_others(tmp_path: Path) -> None:
    """As many golden samples as were asked for, in one size, answered as they are in that size."""
    fleet, project = toy_fleet(tmp_path)
    stages = CutOutStages()

    result = build(fleet, project, stages=stages)

    contract, _ = load_artifact(project, fleet, "toy", "int8")
    golden = np.load(blob_path(project, GOLDEN_FILE), allow_pickle=False)
    assert (6, 12, 8) == golden.shape
    assert {np.float32(0.9)} == {np.float32(answer.score) for answer in contract.golden}
    assert () == result.models[0].doubts
    assert 2 == stages.asked.count("measure int8")
    assert 1.0 == locked_toy(project).variants["int8"].metrics.top1


class SparingStages(ToyStages):
    """As older releases did: half of the golden samples that were asked for."""

    def prove(self, model: Model, *args: Any, **kwargs: Any) -> GoldenSet:
        whole = super().prove(model, *args, **kwargs)
        return replace(whole, samples=whole.samples[:3])


def test_a_golden_set_that_shrank_is_not_up_to_date(tmp_path: Path) -> None:
    """What proves less than its photos allow is chosen anew, from the weights that are there."""
    fleet, project = toy_fleet(tmp_path)
    build(fleet, project, stages=SparingStages())
    with pytest.raises(LockStale, match="toy: variant int8 has 3 golden samples of 6"):
        check(fleet, project)
    stages = ToyStages()

    result = build(fleet, project, stages=stages)

    assert ["variant int8 has 3 golden samples of 6"] == [model.reason for model in result.built]
    assert "train" not in stages.asked
    check(fleet, project)
    assert () == build(fleet, project, stages=ToyStages()).built


def test_fewer_photos_than_golden_samples_are_as_many_as_can_be(tmp_path: Path) -> None:
    """Nothing is built again for samples that there are none of."""
    fleet, project = toy_fleet(tmp_path, toy_model(samples=1000))
    build(fleet, project, stages=ToyStages())

    check(fleet, project)
    assert () == build(fleet, project, stages=ToyStages()).built


class MeddlingStages(ToyStages):
    """Somebody adds a photo while a stage is at work."""

    def __init__(self, folder: Path, stage: str) -> None:
        super().__init__()
        self.folder, self.stage = folder, stage

    def load(self, model: Model, *, base: Path, cache: Path, progress: Progress) -> Split:
        split = super().load(model, base=base, cache=cache, progress=progress)
        self.meddle("load")
        return split

    def train(self, model: Model, split: Split, *, workdir: Path, progress: Progress) -> Trained:
        self.meddle("train")
        return super().train(model, split, workdir=workdir, progress=progress)

    def meddle(self, stage: str) -> None:
        if stage == self.stage:
            (self.folder / "later_G17.png").write_bytes(b"one more")


def test_photos_that_change_while_they_are_read_are_not_learnt(tmp_path: Path) -> None:
    """The lock names the photos by a digest taken before they are read: it must not be of other ones."""
    fleet, project = toy_fleet(tmp_path)
    stages = MeddlingStages(project.inventory / "photos", "load")

    with pytest.raises(BuildError, match="model toy: the photos changed while they were read") as refused:
        build(fleet, project, stages=stages)

    assert "run it again" in refused.value.hint
    assert ["toolchain", "load"] == stages.asked
    assert not project.lockfile.exists()


def test_photos_that_come_later_do_not_cost_the_card(tmp_path: Path) -> None:
    """Once they are read, a build is of what was there; its card is found by that, too."""
    fleet, project = toy_fleet(tmp_path)

    result = build(fleet, project, stages=MeddlingStages(project.inventory / "photos", "train"))

    assert "" == result.models[0].note
    assert (project.artifacts / "toy/card.md").is_file()
    with pytest.raises(LockStale, match="its data changed since"):
        check(fleet, project)
