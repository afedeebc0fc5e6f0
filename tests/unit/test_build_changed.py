"""`fleetctl build --changed`: what a pipeline has to build."""

import json
from pathlib import Path

import jsonschema
import pytest
from git_fleet import GitFleet

from fleetctl.cli import main
from fleetctl.schemas import SCHEMAS


def test_models_that_the_lock_does_not_describe_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is built; GitHub gets a list for a matrix, and a word to skip it by."""
    fleet = GitFleet.make(tmp_path)
    monkeypatch.chdir(fleet.root)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "outputs"))
    assert 0 == main(["build", "--changed", "-o", "json"])
    said = json.loads(capsys.readouterr().out)
    jsonschema.validate(said, SCHEMAS["fleetctl.changed/v1"])
    none = said["models"]
    fleet.edit("samples: 6", "samples: 7")
    assert 0 == main(["build", "--changed", "-o", "json"])
    said = json.loads(capsys.readouterr().out)
    jsonschema.validate(said, SCHEMAS["fleetctl.changed/v1"])
    one = said["models"]["toy"]
    outputs = (tmp_path / "outputs").read_text().splitlines()

    assert {} == none
    assert "its recipe or its data changed since it was built" == one["why"]
    assert ["[]", "false", "true"] == [outputs[index] for index in (1, 4, 10)]
    assert [{"model": "toy", "inputs": one["inputs"]}] == json.loads(outputs[7])
    assert 2 == main(["build", "--changed", "--check"])
