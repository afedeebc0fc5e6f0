"""The gate, case by case; the cases are data in tests/cases/gate."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.gate import Decision, Judged, decide
from fleetctl.manifest.schema import Gate, OnInconclusive
from fleetctl.smoke import Verdict

CASES = yaml.safe_load((Path(__file__).parent.parent / "cases/gate/decisions.yaml").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_gate_decides(case: dict[str, Any]) -> None:
    """Each case's verdicts lead to its decision, with the reason a person will read."""
    settings = dict(case.get("gate", {}))
    if "inconclusive" in settings:
        settings["inconclusive"] = OnInconclusive(settings["inconclusive"])
    verdicts = [Verdict(name) for name, count in case["verdicts"].items() for _ in range(count)]

    judged = decide(Gate(**settings), verdicts, canary=case["canary"])

    assert judged == Judged(Decision(case["decision"]), case["reason"])


@given(st.lists(st.sampled_from(Verdict)), st.booleans())
def test_one_more_failure_never_opens_a_gate(verdicts: list[Verdict], canary: bool) -> None:
    """A gate that stays shut for a wave stays shut for that wave with one more board rolled back."""
    before = decide(Gate(), verdicts, canary=canary)
    after = decide(Gate(), [*verdicts, Verdict.ROLLED_BACK], canary=canary)

    assert before.decision is Decision.OPEN or after.decision is not Decision.OPEN


@given(st.integers(1, 50))
def test_a_canary_of_failures_always_fails(count: int) -> None:
    """No number of rolled back boards makes the canary's gate open."""
    assert decide(Gate(), [Verdict.ROLLED_BACK] * count, canary=True).decision is Decision.FAIL
