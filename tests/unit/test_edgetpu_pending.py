"""Variants that another machine compiles: pending in the lock, fit for no board, completed by a compiler."""

import json
from dataclasses import dataclass
from pathlib import Path

import fake_edgetpu_compiler as fake
import pytest
from msgspec.structs import replace
from toy_build import ToyStages, locked_toy, toy_fleet, toy_model

from fleetctl.artifact import MODEL_FILE
from fleetctl.build.builder import build, check
from fleetctl.build.resolve import load_artifact, resolve, resolve_board, staleness
from fleetctl.build.stages import Converted, Measured, for_edge_tpu
from fleetctl.cli.build import _edgetpu_notes
from fleetctl.cli.build_changed import why_built
from fleetctl.desired import desired_fleet
from fleetctl.errors import GateRefused, LockStale, ToolchainMissing
from fleetctl.lockfile import Compilation, LockedVariant, Pending
from fleetctl.manifest.schema import Attached, EdgeTpu, EdgeTpuBuild, Fleet, Gates, Model, VariantName
from fleetctl.models.progress import Progress
from fleetctl.models.reader import Trained
from fleetctl.models.samples import Samples
from fleetctl.project import Project
from fleetctl.store import BlobStore, sha256


@dataclass
class EdgeTpuStages(ToyStages):
    """Toy stages whose Edge TPU variant is compiled, or not, as a real one is."""

    def convert(
        self, model: Model, trained: Trained, variant: VariantName, learnt: Samples, *, progress: Progress
    ) -> Converted:
        converted = super().convert(model, trained, variant, learnt, progress=progress)
        return for_edge_tpu(model, fake.source()) if variant is VariantName.EDGETPU else converted

    def measure(self, tflite: bytes, trained: Trained, samples: Samples, *, progress: Progress) -> Measured:
        stands_for = b"trainededgetpu" if tflite == fake.source() else tflite
        return super().measure(stands_for, trained, samples, progress=progress)


def fleet_of(root: Path, how: EdgeTpuBuild = EdgeTpuBuild.CI, **gates: float) -> tuple[Fleet, Project]:
    """One board that runs int8 and one that needs the Edge TPU's variant."""
    model = toy_model(variants=(VariantName.INT8, VariantName.EDGETPU), gates=Gates(**gates))
    fleet, project = toy_fleet(root, replace(model, edgetpu=EdgeTpu(how, timeout=60)))
    karnak = replace(fleet.boards["luxor-01"], attached=Attached.USB)
    luxor = replace(karnak, variant=VariantName.INT8)
    return replace(fleet, boards={"luxor-01": luxor, "karnak-07": replace(karnak, name="karnak-07")}), project


def locked(project: Project) -> LockedVariant:
    return locked_toy(project).variants["edgetpu"]


def test_what_ci_compiles_is_pending(tmp_path: Path, programs: Path) -> None:
    """The lock has the int8 model's digest and the share predicted for it; the toolchain says so too."""
    fleet, project = fleet_of(tmp_path)

    result = build(fleet, project, stages=EdgeTpuStages())

    variant = locked(project)
    assert programs.exists()
    assert Pending(2 / 3) == variant.edgetpu
    assert sha256(fake.source()) == variant.artifact.files[MODEL_FILE].sha256
    entry = json.loads(project.lockfile.read_text())["models"]["toy"]["variants"]["edgetpu"]
    assert {"predicted_tpu_ops": 0.666667} == entry["pending"]
    assert ["toy edgetpu is pending: a machine with edgetpu_compiler builds it"] == list(
        _edgetpu_notes(result)
    )


def test_a_pending_variant_is_up_to_date(tmp_path: Path, programs: Path) -> None:
    """Nothing is built again for it, and the check passes."""
    fleet, project = fleet_of(tmp_path, min_tpu_ops=1.0)
    build(fleet, project, stages=EdgeTpuStages())

    again = EdgeTpuStages()
    build(fleet, project, stages=again)

    assert [] == again.asked
    assert not check(fleet, project).lock_changed
    assert programs.exists()


def test_a_pipeline_builds_what_was_left_to_it(tmp_path: Path, programs: Path) -> None:
    """Here the model is up to date; `build --changed`, by which a pipeline builds, names it all the same."""
    fleet, project = fleet_of(tmp_path)
    build(fleet, project, stages=EdgeTpuStages())
    model, entry = fleet.models["toy"], locked_toy(project)

    assert programs.exists()
    assert not staleness(model, entry, entry.input_digest)
    assert "variant edgetpu not compiled yet" == why_built(model, entry, entry.input_digest)


def test_boards_that_need_it_are_refused_and_others_go_on(tmp_path: Path, programs: Path) -> None:
    """Exit 11, with the variant, the model, and the boards to leave out."""
    fleet, project = fleet_of(tmp_path)
    build(fleet, project, stages=EdgeTpuStages())

    with pytest.raises(LockStale, match="variant edgetpu of toy is pending: CI builds it") as refused:
        resolve(fleet, project)

    assert programs.exists()
    assert 11 == refused.value.exit_code
    assert "leave out the boards that need it with --on: karnak-07" in refused.value.hint
    assert {"luxor-01"} == set(resolve(fleet, project, ["luxor-01"]))
    with pytest.raises(LockStale, match="pending"):
        resolve_board(fleet.boards["karnak-07"], fleet, project)
    with pytest.raises(LockStale, match="pending"):
        load_artifact(project, fleet, "toy", "edgetpu")


def test_a_plan_for_other_boards_is_made(tmp_path: Path, programs: Path) -> None:
    """What the whole fleet cannot have, a part of it can."""
    fleet, project = fleet_of(tmp_path)
    build(fleet, project, stages=EdgeTpuStages())

    assert programs.exists()
    assert {"luxor-01"} == set(desired_fleet(project, fleet, ["luxor-01"]).releases)
    with pytest.raises(LockStale):
        desired_fleet(project, fleet, ["karnak-07"])


def test_a_machine_with_the_compiler_completes_it(tmp_path: Path, programs: Path) -> None:
    """From the int8 model in the store: no data, no training, and the other variants stay as they are."""
    fleet, project = fleet_of(tmp_path)
    build(fleet, project, stages=EdgeTpuStages())
    before = locked_toy(project)
    fake.install(programs, fake.honest(tmp_path))

    stages = EdgeTpuStages()
    result = build(fleet, project, stages=stages)

    after = locked_toy(project)
    assert [] == stages.asked
    assert ["what was pending is compiled"] == [model.reason for model in result.built]
    assert Compilation(fake.VERSION, 14, 2048, 0, 2 / 3) == after.variants["edgetpu"].edgetpu
    assert before.variants["int8"] == after.variants["int8"]
    assert fake.VERSION == after.toolchain["edgetpu_compiler"]
    assert round(2 / 3, 6) == round(after.variants["edgetpu"].metrics.tpu_ops or 0, 6)
    assert {"luxor-01", "karnak-07"} == set(resolve(fleet, project))
    assert b"TFL3" == load_artifact(project, fleet, "toy", "edgetpu")[1][4:8]


def test_a_build_with_the_compiler_leaves_nothing_pending(tmp_path: Path, programs: Path) -> None:
    """CI's own first build compiles at once."""
    fake.install(programs, fake.honest(tmp_path))
    fleet, project = fleet_of(tmp_path)

    build(fleet, project, stages=EdgeTpuStages())

    assert isinstance(locked(project).edgetpu, Compilation)


def test_a_gate_judges_what_was_completed(tmp_path: Path, programs: Path) -> None:
    """Exit 21 where the compiler maps less than asked for; the lock goes on saying pending."""
    fleet, project = fleet_of(tmp_path, min_tpu_ops=1.0)
    build(fleet, project, stages=EdgeTpuStages())
    fake.install(programs, fake.honest(tmp_path))

    with pytest.raises(
        GateRefused, match=r"66.7 % of operations run on the Edge TPU, under min_tpu_ops 100.0 %"
    ):
        build(fleet, project, stages=EdgeTpuStages())

    assert locked(project).pending


def test_without_the_int8_model_it_is_built_anew(tmp_path: Path, programs: Path) -> None:
    """A store that lost the blob cannot complete the variant."""
    fleet, project = fleet_of(tmp_path)
    build(fleet, project, stages=EdgeTpuStages())
    BlobStore(project.store).path(locked(project).artifact.files[MODEL_FILE].sha256).unlink()
    fake.install(programs, fake.honest(tmp_path))

    stages = EdgeTpuStages()
    build(fleet, project, stages=stages)

    assert "convert edgetpu" in stages.asked
    assert isinstance(locked(project).edgetpu, Compilation)


def test_pending_is_not_enough_where_the_manifest_compiles_here(tmp_path: Path, programs: Path) -> None:
    """The lock is stale then; and without the compiler the build cannot go on."""
    fleet, project = fleet_of(tmp_path)
    build(fleet, project, stages=EdgeTpuStages())
    here, _ = fleet_of(tmp_path, EdgeTpuBuild.HERE)

    assert programs.exists()
    with pytest.raises(LockStale, match="variant edgetpu not compiled yet"):
        resolve(here, project, ["luxor-01"])
    with pytest.raises(ToolchainMissing):
        build(here, project, stages=EdgeTpuStages())


def test_a_wrong_prediction_is_said(tmp_path: Path, programs: Path) -> None:
    """After the build that compiled, and not every time from then on."""
    rows = (*fake.PARTLY[:2], ("SIN", 1, "Mapped to Edge TPU"))
    fake.install(programs, fake.honest(tmp_path, fake.stdout(*rows), fake.log(*rows), fake.compiled(left=())))
    fleet, project = fleet_of(tmp_path)

    first = build(fleet, project, stages=EdgeTpuStages())
    second = build(fleet, project, stages=EdgeTpuStages())

    assert ["toy edgetpu was predicted otherwise than it was compiled: SIN: 0 predicted, 1 mapped"] == list(
        _edgetpu_notes(first)
    )
    assert [] == list(_edgetpu_notes(second))
