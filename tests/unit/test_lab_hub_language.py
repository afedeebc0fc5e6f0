"""The hub's query language and its deployments, case by case."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fleetctl.lab.iothub.deployments import Configuration, followed, read_configuration
from fleetctl.lab.iothub.language import parse_condition, parse_query
from fleetctl.lab.iothub.refusal import HubRefusal

CASES = Path(__file__).resolve().parents[1] / "cases" / "iothub"
LANGUAGE = yaml.safe_load((CASES / "conditions.yaml").read_text())
DEPLOYMENTS = yaml.safe_load((CASES / "deployments.yaml").read_text())


@pytest.mark.parametrize(("text", "chosen"), LANGUAGE["conditions"])
def test_conditions_choose_twins(text: str, chosen: list[str]) -> None:
    """A target condition chooses the twins that surely meet it, and no others."""
    condition = parse_condition(text)

    assert chosen == [twin["deviceId"] for twin in LANGUAGE["twins"] if condition(twin) is True]


@pytest.mark.parametrize(("text", "rows"), LANGUAGE["queries"])
def test_queries_give_rows(text: str, rows: list[dict[str, Any]]) -> None:
    """A query gives what it asks for, under the names it asks for, counted where it says so."""
    assert rows == list(parse_query(text).rows(LANGUAGE["twins"]))


@pytest.mark.parametrize("text", LANGUAGE["misunderstood"])
def test_what_is_no_condition_is_refused(text: str) -> None:
    """What a hub would not understand is a bad argument, not a condition that chooses nobody."""
    with pytest.raises(HubRefusal) as refusal:
        parse_condition(text)

    assert 400 == refusal.value.status


def test_endless_queries_are_refused() -> None:
    """A query has at most eight KiB, as on a real hub."""
    with pytest.raises(HubRefusal, match="8,192"):
        parse_query("SELECT * FROM devices WHERE deviceId = '" + "x" * 8192 + "'")


def configuration(number: int, given: dict[str, Any]) -> Configuration:
    agent = {"properties.desired": given["agent"]} if "agent" in given else {}
    layers = {f"properties.desired.{path}": value for path, value in given.get("layers", {}).items()}
    content = {"modulesContent": {"$edgeAgent": {**agent, **layers}}}
    return Configuration(given["id"], content, given["priority"], number=number)


@pytest.mark.parametrize("case", DEPLOYMENTS, ids=lambda case: case["name"])
def test_priorities_and_layers(case: dict[str, Any]) -> None:
    """What a board follows is the whole deployment of highest priority and the layers above it."""
    force = followed([configuration(*each) for each in enumerate(case["deployments"])])

    assert case["follows"] == (list(force.ids) if force else None)
    if force:
        assert case["agent"] == force.desired["$edgeAgent"]


@pytest.mark.parametrize(
    ("document", "status", "says"),
    [
        ({}, 400, "needs content"),
        ({"content": {"modulesContent": {"m": {"properties.reported": {}}}}}, 400, "not properties.desired"),
        ({"content": {"modulesContent": {"m": {"properties.desired": 1}}}}, 400, "no object"),
        (
            {"content": {"modulesContent": {f"m{n}": {"properties.desired": {}} for n in range(51)}}},
            400,
            "51 modules; a deployment has at most 50",
        ),
        (
            {
                "content": {
                    "modulesContent": {"m": {"properties.desired": {f"k{n}": "x" * 4000 for n in range(9)}}}
                }
            },
            413,
            "32,768 is the limit",
        ),
        ({"content": {"modulesContent": {"m": {}}}, "priority": -1}, 400, "priority -1"),
        ({"content": {"modulesContent": {"m": {}}}, "targetCondition": "tags."}, 400, "not understood"),
        (
            {
                "content": {"modulesContent": {"m": {}}},
                "metrics": {"queries": {str(n): "" for n in range(6)}},
            },
            400,
            "at most 5 metrics",
        ),
    ],
)
def test_deployments_that_are_refused(document: dict[str, Any], status: int, says: str) -> None:
    """A deployment that a hub would not take is refused with its status and a sentence that says why."""
    with pytest.raises(HubRefusal, match=says) as refusal:
        read_configuration("d", document)

    assert status == refusal.value.status
