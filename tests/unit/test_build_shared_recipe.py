"""Models that are one network and differ in what is asked of it share its training, and nothing else."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from toy_build import EVERYTHING, ToyStages, toy_fleet, toy_model

from fleetctl.build.builder import build, check
from fleetctl.build.built import built_variants
from fleetctl.errors import GateRefused
from fleetctl.manifest.schema import Fleet, Gates, VariantName
from fleetctl.project import Project

MISREAD = {VariantName.INT8: {"G17": 3}}
WITHOUT_TRAINING = [stage for stage in EVERYTHING if stage != "train"]


def two_of_one_recipe(root: Path, gates: Gates | None = None) -> tuple[Fleet, Project]:
    """A fleet with a model under these gates, and one of the same recipe under none."""
    model = toy_model(gates=gates)
    return toy_fleet(root, model, replace(model, name="other", gates=Gates()))


@pytest.mark.parametrize("force", [False, True], ids=["first", "forced"])
def test_each_model_of_one_recipe_gets_its_card(tmp_path: Path, force: bool) -> None:
    """One training serves both, and what was measured of the first is still there for its card."""
    fleet, project = two_of_one_recipe(tmp_path)
    stages = ToyStages()

    result = build(fleet, project, force=force, stages=stages)

    assert [*EVERYTHING, *WITHOUT_TRAINING] == stages.asked
    assert ["", ""] == [model.note for model in result.models]
    assert ["toy", "other"] == [model.name for model in check(fleet, project).models]


def test_a_refused_model_is_judged_again_whatever_shares_its_recipe(tmp_path: Path) -> None:
    """Nothing is converted a second time, and the refused one can be looked into."""
    fleet, project = two_of_one_recipe(tmp_path, Gates(min_accuracy=1.0))
    with pytest.raises(GateRefused):
        build(fleet, project, stages=ToyStages(wrong=MISREAD))
    again = ToyStages(wrong=MISREAD)

    with pytest.raises(GateRefused, match="toy int8: top-1"):
        build(fleet, project, stages=again)

    assert [] == again.asked
    assert [VariantName.INT8] == list(built_variants(fleet.models["toy"], fleet, project))
