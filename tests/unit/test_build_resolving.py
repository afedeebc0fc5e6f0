"""From the lock file to what boards get: only what git asks for today, and only if nobody altered it."""

from pathlib import Path

import pytest
from toy_build import ToyStages, artifact_of, blob_path, remodelled, toy_fleet

from fleetctl.artifact import CONTRACT_FILE, GOLDEN_FILE, MODEL_FILE
from fleetctl.build.builder import build, check
from fleetctl.build.resolve import resolve
from fleetctl.errors import BuildError, LockStale
from fleetctl.manifest.schema import Training


def test_resolving_before_building_says_so(tmp_path: Path) -> None:
    """A fleet whose models were never built has a stale lock."""
    fleet, project = toy_fleet(tmp_path)

    with pytest.raises(LockStale) as stale:
        resolve(fleet, project)

    assert stale.value.message == "fleet.lock is out of date: toy: not built yet"
    assert stale.value.hint == "run `fleetctl build toy` and commit model_artifacts/fleet.lock"


def test_resolving_a_changed_recipe_says_so(tmp_path: Path) -> None:
    """What is locked is not taken for what the manifest asks today."""
    fleet, project = toy_fleet(tmp_path)
    build(fleet, project, stages=ToyStages())

    with pytest.raises(LockStale, match="toy: its recipe or its data changed since it was built"):
        resolve(remodelled(fleet, training=Training(seed=5)), project)


def test_each_board_resolves_to_its_variant(tmp_path: Path) -> None:
    """Boards get the artifact of their own model and variant, and no blob is opened for that."""
    fleet, project = toy_fleet(tmp_path)
    build(fleet, project, stages=ToyStages())
    blob_path(project, MODEL_FILE).unlink()

    assert {"luxor-01": artifact_of(project)} == resolve(fleet, project)


@pytest.mark.parametrize("file", [MODEL_FILE, CONTRACT_FILE, GOLDEN_FILE])
def test_tampering_with_a_blob_is_found(tmp_path: Path, file: str) -> None:
    """One flipped bit in any file of an artifact is found, and the message names the file."""
    fleet, project = toy_fleet(tmp_path)
    build(fleet, project, stages=ToyStages())
    blob = blob_path(project, file)
    blob.chmod(0o644)
    blob.write_bytes(bytes([blob.read_bytes()[0] ^ 1]) + blob.read_bytes()[1:])

    with pytest.raises(BuildError, match=f"toy/int8/{file}: blob [0-9a-f]{{12}} in .* was altered"):
        check(fleet, project)


def test_check_builds_nothing(tmp_path: Path) -> None:
    """`--check` on a fleet that was never built fails and leaves no trace."""
    fleet, project = toy_fleet(tmp_path)

    with pytest.raises(LockStale):
        check(fleet, project)

    assert not project.artifacts.exists()
