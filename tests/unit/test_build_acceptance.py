"""The acceptance gates, case by case: tests/cases/acceptance/gates.yaml."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fleetctl.build.acceptance import refusals
from fleetctl.lockfile import ClassDrop, Metrics
from fleetctl.manifest.schema import Gates, VariantName
from fleetctl.models.drops import worst_class
from fleetctl.models.evaluate import judge

CASES = yaml.safe_load((Path(__file__).parents[1] / "cases/acceptance/gates.yaml").read_text())


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


def test_signs_with_few_samples_have_no_say_in_the_worst_class() -> None:
    """One wrong photo of nine is no evidence of a lost sign; one of ten is."""
    truth = ["A1"] * 9 + ["B1"] * 10
    right = judge(truth, truth, taught=["A1", "B1"])
    wrong = judge(truth, ["B1", *truth[1:-1], "A1"], taught=["A1", "B1"])

    assert ClassDrop("B1", 0.1) == worst_class(wrong, right)


def test_without_enough_samples_there_is_no_worst_class() -> None:
    """It is left open rather than called zero."""
    few = judge(["A1"] * 9, ["A1"] * 9, taught=["A1"])

    assert worst_class(few, few) is None
