"""What gets into the lock file: what passes its gates, all of it or nothing, by one build at a time."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from toy_build import ToyStages, locked_toy, remodelled, toy_fleet, toy_model

from fleetctl import lockfile
from fleetctl.build.builder import build
from fleetctl.build.resolve import resolve
from fleetctl.errors import GateRefused, LockHeld
from fleetctl.manifest.schema import Gates, Training, VariantName
from fleetctl.store import Lock


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


def test_a_gate_that_no_photos_could_pass_is_told_before_training(tmp_path: Path) -> None:
    """Minutes of training would end in that very refusal: what is there to judge by is known before."""
    fleet, project = toy_fleet(tmp_path, toy_model(gates=Gates(max_class_drop=0.1)))
    stages = ToyStages(each=9)

    with pytest.raises(GateRefused, match="no sign has 10 evaluation samples, but at most 9") as refused:
        build(fleet, project, stages=stages)

    assert ["toolchain", "load"] == stages.asked
    assert "leave `gates.max_class_drop` out" in refused.value.hint
    build(fleet, project, stages=ToyStages(each=10))


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


def test_two_builds_do_not_run_at_once(tmp_path: Path) -> None:
    """The second is told who is at work."""
    fleet, project = toy_fleet(tmp_path)

    with (
        Lock(project.state / "build.lock", "build of unas"),
        pytest.raises(LockHeld, match="build of unas has been"),
    ):
        build(fleet, project, stages=ToyStages())
