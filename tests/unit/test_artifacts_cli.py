"""`fleetctl artifacts`: built here, rolled out there."""

import json
import shutil
from pathlib import Path

import jsonschema
import pytest
from git_fleet import GitFleet

from fleetctl.cli import main
from fleetctl.schemas import SCHEMAS


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GitFleet:
    found = GitFleet.make(tmp_path)
    monkeypatch.chdir(found.root)
    monkeypatch.setenv("FLEETCTL_ARTIFACTS", str(tmp_path / "shared"))
    return found


def test_a_fresh_clone_gets_what_the_lock_names(fleet: GitFleet, capsys: pytest.CaptureFixture[str]) -> None:
    """After a pull, `build --check` has nothing to say, and a second pull moves nothing."""
    assert 1 == main(["artifacts", "check"])
    assert 0 == main(["artifacts", "push"])
    assert 0 == main(["artifacts", "check"])
    shutil.rmtree(fleet.root / "model_artifacts" / "store")
    assert 20 == main(["build", "--check"])
    assert 0 == main(["artifacts", "pull"])
    assert 0 == main(["build", "--check"])
    capsys.readouterr()
    assert 0 == main(["artifacts", "pull", "-o", "json"])
    said = json.loads(capsys.readouterr().out)

    jsonschema.validate(said, SCHEMAS["fleetctl.artifacts/v1"])
    assert [{}] == [each["files"] for each in said["artifacts"]]


def test_a_pull_request_cannot_push(
    fleet: GitFleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Read-only is exit 31, and nothing was written."""
    monkeypatch.setenv("FLEETCTL_ARTIFACTS_READ_ONLY", "1")

    assert 31 == main(["artifacts", "push"])
    assert "is only read from here" in capsys.readouterr().err
    assert not (fleet.root.parent / "shared").exists()


@pytest.mark.usefixtures("fleet")
def test_a_registry_password_is_masked_on_github(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The runner is told to blot it out before it could be printed anywhere."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("FLEETCTL_REGISTRY_USER", "ankh")
    monkeypatch.setenv("FLEETCTL_REGISTRY_PASSWORD", "papyrus-secret")
    main(["artifacts", "check"])
    said = capsys.readouterr()

    assert said.err.startswith("::add-mask::papyrus-secret\n")
    assert 1 == (said.out + said.err).count("papyrus-secret")


def test_an_empty_lock_has_nothing_to_push(fleet: GitFleet, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 11, and the command that makes one."""
    (fleet.root / "model_artifacts" / "fleet.lock").unlink()

    assert 11 == main(["artifacts", "push"])
    assert "run `fleetctl build`" in capsys.readouterr().err
