"""What a build does and does not do, with stages that need no TensorFlow."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from toy_build import SIGNS, ToyStages, lose_local_state, toy_fleet, toy_model

from fleetctl import lockfile
from fleetctl.artifact import CONTRACT_FILE, GOLDEN_FILE, MODEL_FILE, Artifact, Contract
from fleetctl.build.builder import build, check
from fleetctl.build.resolve import load_artifact, resolve
from fleetctl.build.stages import Measured
from fleetctl.errors import BuildError, GateRefused, LockHeld, LockStale, UsageError
from fleetctl.manifest.schema import (
    Architecture,
    ArchitectureName,
    Fleet,
    Gates,
    Model,
    Task,
    Training,
    VariantName,
    WallsDataset,
)
from fleetctl.models.margins import GoldenSet
from fleetctl.models.progress import Progress
from fleetctl.models.reader import Trained
from fleetctl.models.samples import Samples, Split
from fleetctl.project import Project
from fleetctl.store import BlobStore, Lock

EVERYTHING = [
    "toolchain",
    "load",
    "train",
    "convert float32",
    "measure float32",
    "convert int8",
    "measure int8",
]


def locked_toy(project: Project) -> lockfile.LockedModel:
    return lockfile.read(project.lockfile).models["toy"]


def artifact_of(project: Project, variant: str = "int8") -> Artifact:
    return locked_toy(project).variants[variant].artifact


def remodelled(fleet: Fleet, **changes: object) -> Fleet:
    """The fleet with its toy model changed."""
    return replace(fleet, models={"toy": replace(fleet.models["toy"], **changes)})  # type: ignore[arg-type]


def blob_path(project: Project, file: str) -> Path:
    return BlobStore(project.store).path(artifact_of(project).files[file].sha256)


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


def test_nothing_changed_means_nothing_done(tmp_path: Path) -> None:
    """A second build asks no stage for anything and leaves the lock file untouched."""
    fleet, project = toy_fleet(tmp_path)
    build(fleet, project, stages=ToyStages())
    before = project.lockfile.stat()
    stages = ToyStages()

    result = build(fleet, project, stages=stages)

    assert stages.asked == []
    assert result.built == () and not result.lock_changed
    assert before.st_mtime_ns == project.lockfile.stat().st_mtime_ns


def test_finding_nothing_to_do_imports_no_tensorflow(tmp_path: Path) -> None:
    """In a process of its own, a build with nothing to do has loaded no heavy package when it ends."""
    build(*toy_fleet(tmp_path), stages=ToyStages())
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from toy_build import toy_fleet\n"
        "from fleetctl.build.builder import build\n"
        "assert build(*toy_fleet(Path(sys.argv[2]))).built == ()\n"
        "heavy = {'tensorflow', 'keras', 'tflite_runtime', 'PIL', 'ansible'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )

    run = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).parents[1]), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (run.stdout, run.stderr) == ("[]\n", "")


def test_float32_is_measured_but_not_kept_when_not_listed(tmp_path: Path) -> None:
    """Drops are against float32 even where no board may run it."""
    fleet, project = toy_fleet(tmp_path)

    build(fleet, project, stages=ToyStages(wrong={VariantName.INT8: {"G17": 3}}))

    metrics = locked_toy(project).variants["int8"].metrics
    assert list(locked_toy(project).variants) == ["int8"]
    assert pytest.approx(metrics.drop, abs=1e-6) == 3 / 36
    assert lockfile.ClassDrop("G17", 0.25) == metrics.worst_class


@pytest.mark.parametrize(
    "change",
    [
        {"gates": Gates(min_accuracy=0.5)},
        {"smoke": replace(toy_model().smoke, min_agreement=0.5)},
        {"variants": (VariantName.INT8,)},
    ],
    ids=["gates", "smoke budget", "same variants"],
)
def test_what_does_not_change_the_bytes_builds_nothing(tmp_path: Path, change: dict[str, object]) -> None:
    """Gates and budgets are judged from the numbers in the lock."""
    fleet, project = toy_fleet(tmp_path)
    build(fleet, project, stages=ToyStages())
    stages = ToyStages()

    build(remodelled(fleet, **change), project, stages=stages)

    assert stages.asked == []


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        ({"training": Training(epochs=7)}, EVERYTHING),
        ({"smoke": replace(toy_model().smoke, samples=3)}, [s for s in EVERYTHING if s != "train"]),
    ],
    ids=["training", "golden samples"],
)
def test_what_changes_the_bytes_builds_again(
    tmp_path: Path, change: dict[str, object], asked: list[str]
) -> None:
    """A new recipe trains; a new number of golden samples takes the weights that are there."""
    fleet, project = toy_fleet(tmp_path)
    build(fleet, project, stages=ToyStages())
    stages = ToyStages()

    result = build(remodelled(fleet, **change), project, stages=stages)

    assert asked == stages.asked
    assert [model.reason for model in result.built] == ["its recipe or its data changed since it was built"]


def test_a_changed_photo_builds_again(tmp_path: Path) -> None:
    """The dataset is part of what a model is a function of."""
    fleet, project = toy_fleet(tmp_path)
    build(fleet, project, stages=ToyStages())
    (project.inventory / "photos" / "000000_G17.png").write_bytes(b"another photo")
    stages = ToyStages()

    build(fleet, project, stages=stages)

    assert stages.asked == EVERYTHING


def test_a_refused_model_leaves_the_old_lock(tmp_path: Path) -> None:
    """A gate that says no names each number against its limit, and nothing is released."""
    fleet, project = toy_fleet(tmp_path)
    build(fleet, project, stages=ToyStages())
    before = project.lockfile.read_bytes()
    worse = remodelled(fleet, training=Training(epochs=1), gates=Gates(min_accuracy=0.9, max_drop=0.01))

    with pytest.raises(GateRefused) as refused:
        build(worse, project, stages=ToyStages(wrong={VariantName.INT8: {"G17": 6}}))

    assert refused.value.message == (
        "the gates refuse what was built: toy int8: top-1 83.3 % is under min_accuracy 90.0 %; "
        "toy int8: top-1 is 16.7 points under float32, over max_drop 1.0"
    )
    assert before == project.lockfile.read_bytes()


def test_a_refused_model_is_judged_again_without_building(tmp_path: Path) -> None:
    """Loosening the gate takes what the refused build had finished."""
    fleet, project = toy_fleet(tmp_path, toy_model(gates=Gates(min_accuracy=0.9)))
    with pytest.raises(GateRefused):
        build(fleet, project, stages=ToyStages(wrong={VariantName.INT8: {"G17": 6}}))
    stages = ToyStages()

    build(remodelled(fleet, gates=Gates(min_accuracy=0.8)), project, stages=stages)

    assert stages.asked == []
    assert locked_toy(project).variants["int8"].metrics.top1 == 0.833333


def test_one_refused_model_keeps_all_out_of_the_lock(tmp_path: Path) -> None:
    """Either every model asked for passes, or the lock stays as it was."""
    strict = replace(toy_model(gates=Gates(max_size=3)), name="strict")
    fleet, project = toy_fleet(tmp_path, toy_model(), strict)

    with pytest.raises(GateRefused, match="strict int8: 11 bytes is over max_size 3"):
        build(fleet, project, stages=ToyStages())

    assert not project.lockfile.exists()


def test_a_stricter_gate_refuses_what_is_locked(tmp_path: Path) -> None:
    """Changing a gate alone keeps a model that no longer passes away from every board."""
    fleet, project = toy_fleet(tmp_path)
    build(fleet, project, stages=ToyStages(wrong={VariantName.INT8: {"G17": 6}}))

    with pytest.raises(GateRefused):
        resolve(remodelled(fleet, gates=Gates(min_accuracy=0.9)), project)


def test_a_build_goes_on_from_the_trained_weights(tmp_path: Path) -> None:
    """A build that failed after training does not train again."""
    fleet, project = toy_fleet(tmp_path)
    with pytest.raises(BuildError, match="int8 cannot be built"):
        build(fleet, project, stages=ToyStages(failing=[VariantName.INT8]))
    stages = ToyStages()

    build(fleet, project, stages=stages)

    assert [stage for stage in EVERYTHING if stage != "train"] == stages.asked


def test_damaged_weights_are_trained_again(tmp_path: Path) -> None:
    """Weights that are no longer what training left are not taken for a model."""
    fleet, project = toy_fleet(tmp_path)
    with pytest.raises(BuildError):
        build(fleet, project, stages=ToyStages(failing=[VariantName.INT8]))
    (weights,) = project.state.glob("build/*/weights")
    weights.write_bytes(b"trainee")
    stages = ToyStages()

    build(fleet, project, stages=stages)

    assert stages.asked == EVERYTHING


def test_force_starts_from_nothing(tmp_path: Path) -> None:
    """`--force` believes neither the lock nor what earlier builds left."""
    fleet, project = toy_fleet(tmp_path)
    build(fleet, project, stages=ToyStages())
    stages = ToyStages()

    result = build(fleet, project, force=True, stages=stages)

    assert stages.asked == EVERYTHING
    assert not result.lock_changed


def test_a_new_variant_comes_from_the_same_training(tmp_path: Path) -> None:
    """Variants of one model are never mixed from two trainings."""
    fleet, project = toy_fleet(tmp_path)
    build(fleet, project, stages=ToyStages())
    lose_local_state(project)
    stages = ToyStages()

    result = build(
        remodelled(fleet, variants=(VariantName.INT8, VariantName.DYNAMIC)), project, stages=stages
    )

    assert [*EVERYTHING, "convert dynamic", "measure dynamic"] == stages.asked
    assert result.models[0].reason == "variant dynamic not built yet"


def test_what_left_the_manifest_leaves_the_lock(tmp_path: Path) -> None:
    """The lock describes the manifest: no more models, no more variants."""
    both = toy_model(variants=(VariantName.INT8, VariantName.DYNAMIC))
    fleet, project = toy_fleet(tmp_path, both, replace(toy_model(), name="old"))
    build(fleet, project, stages=ToyStages())
    stages = ToyStages()

    build(replace(fleet, models={"toy": toy_model()}), project, stages=stages)

    assert stages.asked == []
    assert list(lockfile.read(project.lockfile).models) == ["toy"]
    assert list(locked_toy(project).variants) == ["int8"]


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


def test_two_builds_do_not_run_at_once(tmp_path: Path) -> None:
    """The second is told who is at work."""
    fleet, project = toy_fleet(tmp_path)

    with (
        Lock(project.state / "build.lock", "build of unas"),
        pytest.raises(LockHeld, match="build of unas has been"),
    ):
        build(fleet, project, stages=ToyStages())


def test_the_same_inputs_give_the_same_artifact(tmp_path: Path) -> None:
    """Two clones that build the same recipe lock the same digests."""
    digests = set()
    for clone in ("one", "two"):
        fleet, project = toy_fleet(tmp_path / clone)
        build(fleet, project, stages=ToyStages())
        digests.add((locked_toy(project).input_digest, artifact_of(project).digest))

    assert len(digests) == 1


def test_resolving_before_building_says_so(tmp_path: Path) -> None:
    """A fleet whose models were never built has a stale lock."""
    fleet, project = toy_fleet(tmp_path)

    with pytest.raises(LockStale) as stale:
        resolve(fleet, project)

    assert stale.value.message == "fleet.lock is out of date: toy: not built yet"
    assert stale.value.hint == "run `fleetctl build toy` and commit model_artifacts/fleet.lock"


def test_resolving_a_changed_recipe_says_so(tmp_path: Path) -> None:
    """What is locked is not taken for what the manifest asks today."""
    fleet, project = toy_fleet(tmp_path)
    build(fleet, project, stages=ToyStages())

    with pytest.raises(LockStale, match="toy: its recipe or its data changed since it was built"):
        resolve(remodelled(fleet, training=Training(seed=5)), project)


def test_each_board_resolves_to_its_variant(tmp_path: Path) -> None:
    """Boards get the artifact of their own model and variant, and no blob is opened for that."""
    fleet, project = toy_fleet(tmp_path)
    build(fleet, project, stages=ToyStages())
    blob_path(project, MODEL_FILE).unlink()

    assert {"luxor-01": artifact_of(project)} == resolve(fleet, project)


@pytest.mark.parametrize("file", [MODEL_FILE, CONTRACT_FILE, GOLDEN_FILE])
def test_tampering_with_a_blob_is_found(tmp_path: Path, file: str) -> None:
    """One flipped bit in any file of an artifact is found, and the message names the file."""
    fleet, project = toy_fleet(tmp_path)
    build(fleet, project, stages=ToyStages())
    blob = blob_path(project, file)
    blob.chmod(0o644)
    blob.write_bytes(bytes([blob.read_bytes()[0] ^ 1]) + blob.read_bytes()[1:])

    with pytest.raises(BuildError, match=f"toy/int8/{file}: blob [0-9a-f]{{12}} in .* was altered"):
        check(fleet, project)


@pytest.mark.parametrize("harm", ["altered", "lost"])
def test_a_harmed_blob_is_made_anew(tmp_path: Path, harm: str) -> None:
    """Building again heals the store, from the weights that are still there, to the same digests."""
    fleet, project = toy_fleet(tmp_path)
    build(fleet, project, stages=ToyStages())
    before, blob = project.lockfile.read_bytes(), blob_path(project, MODEL_FILE)
    blob.unlink()
    if harm == "altered":
        blob.write_bytes(b"trainedInt8")
    stages = ToyStages()

    build(fleet, project, stages=stages)

    assert [stage for stage in EVERYTHING if stage != "train"] == stages.asked
    assert blob.read_bytes() == b"trainedint8"
    assert before == project.lockfile.read_bytes()


def test_check_builds_nothing(tmp_path: Path) -> None:
    """`--check` on a fleet that was never built fails and leaves no trace."""
    fleet, project = toy_fleet(tmp_path)

    with pytest.raises(LockStale):
        check(fleet, project)

    assert not project.artifacts.exists()


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


def test_a_contract_reads_back_as_it_was_written(tmp_path: Path) -> None:
    """Nothing is lost between the build host and a board."""
    fleet, project = toy_fleet(tmp_path)
    build(fleet, project, stages=ToyStages())
    contract, _ = load_artifact(project, fleet, "toy", "int8")

    assert contract == Contract.from_json(contract.to_json())
    assert json.loads(contract.to_json())["labels"] == list(SIGNS)
