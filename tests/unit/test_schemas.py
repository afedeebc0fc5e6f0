"""The published JSON Schemas: each is one, and each is what its verb prints."""

import re
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from quadrant_fleet import QuadrantFleet

import fleetctl
from fleetctl.cli.manual import Part, page
from fleetctl.schemas import SCHEMAS, short_name

SAYS = [
    ("validate", 0, ["validate"]),
    ("explain", 0, ["explain", "karnak-01"]),
    ("render", 0, ["render", "luxor-01"]),
    ("plan", 1, ["plan"]),
    ("rollout", 0, ["rollout", "--yes"]),
    ("plan", 0, ["plan"]),
    ("smoke", 1, ["smoke", "--faults", "faults.yaml"]),
    ("history", 0, ["history"]),
    ("logs", 0, ["logs", "luxor-01"]),
    ("rollback", 41, ["rollback", "--yes"]),
    ("rollout", 40, ["rollout", "--yes", "--faults", "faults.yaml"]),
]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuadrantFleet]:
    """Three simulated boards that were never rolled out to."""
    made = QuadrantFleet.make(tmp_path_factory.mktemp("fleet"))
    (made.root / "faults.yaml").write_text("luxor-01: {bad_answers: 1.0}\nluxor-02: {unreachable: true}\n")
    yield made


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_is_a_schema(name: str) -> None:
    """Valid by its own dialect, and named by what it describes."""
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])

    assert name == SCHEMAS[name]["title"] == SCHEMAS[name]["properties"]["schema"]["const"]


def test_verbs_print_what_is_published(fleet: QuadrantFleet) -> None:
    """Played in order on simulated boards, every document fits, neither more nor less than it says."""
    for name, status, words in SAYS:
        if words == ["rollout", "--yes", "--faults", "faults.yaml"]:
            fleet.edit(
                "defaults: {model: quadrants,", "defaults: {config: {threshold: 0.3}, model: quadrants,"
            )
        said = fleet.run(*words, "-o", "json", transport="fake")

        assert status == said.status, (words, said.err)
        jsonschema.validate(said.json, SCHEMAS[f"fleetctl.{name}/v1"])


def test_an_invalid_manifest_is_json_too(fleet: QuadrantFleet) -> None:
    """The problems of a manifest fit the schema of `validate`, with exit 10."""
    (fleet.root / "bad.yaml").write_text("kind: Flee\n")
    said = fleet.run("validate", "-f", "bad.yaml", "-o", "json")

    assert 10 == said.status
    jsonschema.validate(said.json, SCHEMAS["fleetctl.validate/v1"])


def test_nothing_is_printed_that_nobody_knows_of() -> None:
    """Every schema that a verb names is published, and every one that is published a verb names."""
    folder = Path(fleetctl.__file__).parent
    files = [
        *(folder / "cli").rglob("*.py"),
        *(folder / "report").glob("*.py"),
        folder / "plan.py",
        folder / "sharding.py",
    ]
    named = {name for file in files for name in re.findall(r'"(fleetctl\.[a-z-]+/v\d)"', file.read_text())}

    assert set(SCHEMAS) == named


def test_the_manual_has_them_all() -> None:
    """Each has a section with every property."""
    text = page(Part.JSON)

    assert [] == [name for name in SCHEMAS if f"\n## {name}\n" not in text]
    assert len(SCHEMAS) == len({short_name(name) for name in SCHEMAS})
