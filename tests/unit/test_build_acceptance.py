"""The acceptance gates, case by case: tests/cases/acceptance/gates.yaml."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from toy_build import ToyStages, toy_fleet, toy_model

from fleetctl.build.acceptance import quantization_advice, refusals
from fleetctl.build.builder import build
from fleetctl.errors import GateRefused
from fleetctl.lockfile import ClassDrop, Metrics
from fleetctl.manifest.schema import Gates, VariantName
from fleetctl.models.drops import worst_class
from fleetctl.models.evaluate import judge

FOLDER = Path(__file__).parents[1] / "cases" / "acceptance"
CASES = yaml.safe_load((FOLDER / "gates.yaml").read_text())
QUANTIZATION_CASES = yaml.safe_load((FOLDER / "quantization.yaml").read_text())


def metrics(
    samples: int = 100,
    top1: float = 0.95,
    drop: float = 0.0,
    worst: tuple[str, float] | None = ("G17", 0.0),
    size: int = 1000,
    tpu_ops: float | None = None,
) -> Metrics:
    return Metrics(samples, top1, drop, ClassDrop(*worst) if worst else None, size, tpu_ops)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_gates(case: dict[str, Any]) -> None:
    """A measured variant is refused for exactly the reasons the case lists."""
    variant = VariantName(case.get("variant", "int8"))

    reasons = refusals(variant, metrics(**case.get("measured", {})), Gates(**case["gates"]))

    assert case["refused"] == list(reasons)


@pytest.mark.parametrize("case", QUANTIZATION_CASES, ids=lambda case: case["case"])
def test_quantization_advice(case: dict[str, Any]) -> None:
    """Where int8 loses too much, the build says what quantization-aware training gives."""
    built = {name: lost(case[name]) for name in ("int8", "int8-qat") if name in case}

    assert case["advice"] == quantization_advice(built, Gates(**case["gates"]))


def test_a_refusal_says_what_quantization_aware_training_gives(tmp_path: Path) -> None:
    """The numbers of int8 are in the message, and those of int8-qat in the hint."""
    variants = (VariantName.INT8, VariantName.INT8_QAT)
    fleet, project = toy_fleet(tmp_path, toy_model(variants=variants, gates=Gates(max_drop=0.05)))

    with pytest.raises(GateRefused, match=r"toy int8: top-1 is 8\.3 points under float32") as caught:
        build(fleet, project, stages=ToyStages(wrong={VariantName.INT8: {"G17": 3}}))
    assert "toy: int8-qat loses 0.0 points: use variant int8-qat on boards" in caught.value.hint


def lost(loss: float | list[Any]) -> Metrics:
    """Metrics of a variant that lost as a case says it."""
    if isinstance(loss, list):
        drop, sign, of_sign = loss
        return metrics(drop=drop, worst=(sign, of_sign) if sign else None)
    return metrics(drop=loss)


def test_signs_with_few_samples_have_no_say_in_the_worst_class() -> None:
    """One wrong photo of nine is no evidence of a lost sign; one of ten is."""
    truth = ["A1"] * 9 + ["B1"] * 10
    right = judge(truth, truth, taught=["A1", "B1"])
    wrong = judge(truth, ["B1", *truth[1:-1], "A1"], taught=["A1", "B1"])

    assert ClassDrop("B1", 0.1) == worst_class(wrong.per_class, right.per_class)


def test_without_enough_samples_there_is_no_worst_class() -> None:
    """It is left open rather than called zero."""
    few = judge(["A1"] * 9, ["A1"] * 9, taught=["A1"])

    assert worst_class(few.per_class, few.per_class) is None
