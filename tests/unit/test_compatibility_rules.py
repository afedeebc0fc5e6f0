"""What is said of each board and model: nothing but a table, in tests/cases/compatibility."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from compatibility_cases import board_of, needs_of, reported_of

from fleetctl.compatibility.rules import Rule
from fleetctl.compatibility.verdict import Judge

CASES: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parents[1] / "cases/compatibility/rules.yaml").read_text("utf-8")
)


def judgements() -> Iterator[Any]:
    """Every case, with each of its boards."""
    for case in CASES:
        for settings in [{"board": kind} for kind in case.get("boards", [])] or [case["board"]]:
            yield pytest.param(case, settings, id=f"{case['what']}-{settings['board']}")


@pytest.mark.parametrize(("case", "settings"), list(judgements()))
def test_verdict(case: dict[str, Any], settings: dict[str, Any]) -> None:
    """A board is refused for exactly what the case says, with its fix."""
    refusals = Judge().refusals(
        needs_of(case["needs"]), board_of(settings), reported_of(case.get("reported", {}))
    )

    expected = [tuple(case["says"])] if "says" in case else []
    assert expected == [(refusal.rule.value, str(refusal), refusal.fix) for refusal in refusals]


def test_every_rule_has_a_case() -> None:
    """A rule that nobody wrote a case for would be one that nobody knows to work."""
    assert set(Rule) == {Rule(case["says"][0]) for case in CASES if "says" in case}
