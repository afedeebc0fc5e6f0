"""Documents that keep their word: links lead somewhere, verbs and exit codes are all there."""

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from fleetctl import errors
from fleetctl.cli import VERBS
from fleetctl.manifest.json_schema import json_schema

REPOSITORY = Path(__file__).resolve().parents[2]
VARIABLE = re.compile(r"\bFLEETCTL_[A-Z_]+\b")
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """Every relative link names a file that is there, and a heading that is in it."""
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", document.read_text("utf-8")):
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document

        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_tables_are_tables(document: Path) -> None:
    """A table without a head, or with a row of another width, is shown as a heap of bars."""
    text = re.sub(r"^ *```.*?^ *```", "", document.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = table.splitlines()
        widths = {len(re.findall(r"(?<!\\)\|", re.sub(r"`[^`]*`", "", row))) for row in rows}

        assert re.fullmatch(r"\|(?: ?:?-+:? ?\|)+", rows[1] if rows[1:] else ""), rows[0]
        assert 1 == len(widths), rows[0]


def parts_of_manifests(document: Path) -> list[dict[str, Any]]:
    """The YAML of a document that is a manifest, or a part of one."""
    blocks = re.findall(r"^ *```yaml\n(.*?)^ *```", document.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    shown = [json.loads(json.dumps(yaml.safe_load(textwrap.dedent(block)), default=str)) for block in blocks]
    return [each for each in shown if not {*json_schema()["properties"]}.isdisjoint(each)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_manifest_that_is_shown_could_be_one(document: Path) -> None:
    """Its keys and values are a manifest's; what a part leaves out is not asked for."""
    validator = jsonschema.Draft202012Validator(json_schema())
    for shown in parts_of_manifests(document):
        found = [error for error in validator.iter_errors(shown) if error.validator != "required"]

        assert [] == [f"{error.json_path}: {error.message}" for error in found]


def test_manifests_are_found_where_they_are_shown() -> None:
    """Else every one that is shown could be one."""
    assert [] != parts_of_manifests(REPOSITORY / "docs" / "howto-raspberry-pi.md")


def test_the_readme_names_every_verb() -> None:
    """A verb that nobody can find is not there."""
    readme = (REPOSITORY / "README.md").read_text("utf-8")

    assert [] == [verb for verb in VERBS if f"`{verb}`" not in readme]


def test_the_readme_says_where_things_are() -> None:
    """No package of the program is left for a newcomer to come upon."""
    listed = (REPOSITORY / "README.md").read_text("utf-8").split("## Where things are")[1]
    packages = [init.parent.name for init in (REPOSITORY / "fleetctl").glob("*/__init__.py")]

    assert "device" in packages
    assert [] == [name for name in packages if not re.search(rf"\b{name}/", listed)]


def test_every_variable_is_documented() -> None:
    """What may be set in the environment stands on one page; nothing else does."""
    text = (REPOSITORY / "docs" / "environment.md").read_text("utf-8")
    read = {
        name
        for file in (REPOSITORY / "fleetctl").rglob("*.py")
        for name in VARIABLE.findall(file.read_text("utf-8"))
    }
    for_itself = {"FLEETCTL_LAB_BOARD"}  # the mark of what runs on a virtual board

    assert for_itself == read ^ set(VARIABLE.findall(text))


def test_every_stage_of_a_build_is_documented() -> None:
    """Whoever waits can look up what for."""
    files = [file for file in (REPOSITORY / "fleetctl" / "models").rglob("*.py") if file.name != "compare.py"]
    stages = {name for file in files for name in re.findall(r'\bprogress\("([a-z ]+)"', file.read_text())}
    text = (REPOSITORY / "docs" / "building.md").read_text("utf-8").split("## Progress")[1].split("\n## ")[0]

    assert {"draw", "golden"} <= stages
    assert set() == {*stages, "train", "fine-tune", "convert"} - set(re.findall(r"`([a-z -]+)`", text))


def test_every_exit_code_is_documented() -> None:
    """Each error's number stands in the table of exit codes, and in the tree that opens errors.py."""
    raised = {
        error.exit_code
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.FleetError)
    }
    table = (REPOSITORY / "docs" / "rollout.md").read_text("utf-8").split("## Exit codes")[1].split("##")[0]
    listed = {
        int(code) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE) for code in row.split(",")
    }

    assert set() == raised - listed
    assert errors.__doc__
    assert set() == raised - {int(code) for code in re.findall(r"\b\d+\b", errors.__doc__)}
