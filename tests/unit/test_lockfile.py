"""The lock: what is written, and how a bad one is told: tests/cases/lockfile/bad.yaml."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from toy_build import ToyStages, toy_fleet, toy_model

from fleetctl import lockfile
from fleetctl.build.builder import build
from fleetctl.errors import ManifestError
from fleetctl.manifest.schema import VariantName
from fleetctl.project import Project

BAD = yaml.safe_load((Path(__file__).parents[1] / "cases/lockfile/bad.yaml").read_text())


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose toy model is built and locked."""
    fleet, project = toy_fleet(tmp_path, toy_model(variants=(VariantName.INT8, VariantName.EDGETPU)))
    build(fleet, project, stages=ToyStages())
    return project


def spoiled(text: str, case: dict[str, Any]) -> str:
    if "text" in case:
        return str(case["text"])
    document = json.loads(text)
    *parents, last = case["at"]
    place = document
    for key in parents:
        place = place[key]
    place.pop(last, None)
    if "to" in case:
        place[last] = case["to"]
    return json.dumps(document)


@pytest.mark.parametrize("case", BAD, ids=lambda case: case["case"])
def test_a_bad_lock_is_told_with_its_place(project: Project, case: dict[str, Any]) -> None:
    """File, line where there is one, place in the document, what is wrong, and what to do."""
    project.lockfile.write_text(spoiled(project.lockfile.read_text(), case))

    with pytest.raises(ManifestError) as refused:
        lockfile.read(project.lockfile)

    assert str(refused.value.problems[0]).startswith(case["says"])


def test_bytes_that_are_no_text_are_told(project: Project) -> None:
    """A lock that is not UTF-8 names the byte."""
    project.lockfile.write_bytes(b'{"\xff')

    with pytest.raises(ManifestError) as refused:
        lockfile.read(project.lockfile)

    assert "not UTF-8: byte 2 is 0xff" in str(refused.value.problems[0])


def test_a_folder_is_no_lock(project: Project) -> None:
    """The system's refusal to read it is told as it is."""
    project.lockfile.unlink()
    project.lockfile.mkdir()

    with pytest.raises(ManifestError) as refused:
        lockfile.read(project.lockfile)

    assert "model_artifacts/fleet.lock: cannot be read: Is a directory" == str(refused.value.problems[0])


def test_no_lock_is_an_empty_lock(tmp_path: Path) -> None:
    """A fleet that was never built has nothing locked."""
    assert lockfile.read(tmp_path / "fleet.lock") == lockfile.FleetLock()


def test_a_lock_is_made_for_review(project: Project) -> None:
    """Sorted and indented, one number a line, with a newline at its end."""
    text = project.lockfile.read_text()

    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"
    assert '\n            "top1": 1.0,\n' in text
    assert '\n            "tpu_ops": 0.75,\n' in text


def test_writing_what_was_read_changes_no_byte(project: Project) -> None:
    """A lock that nobody changed shows up in no diff."""
    before = project.lockfile.read_bytes()

    lockfile.write(project.lockfile, lockfile.read(project.lockfile))

    assert project.lockfile.read_bytes() == before
