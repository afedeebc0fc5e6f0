"""What a build does again, and what it takes from the one before."""

import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace
from toy_build import EVERYTHING, ToyStages, blob_path, lose_local_state, remodelled, toy_fleet, toy_model

from fleetctl.artifact import MODEL_FILE
from fleetctl.build.builder import build
from fleetctl.errors import BuildError
from fleetctl.manifest.schema import Gates, Training, VariantName


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
