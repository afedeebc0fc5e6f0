"""`fleetctl init --github`: a team's repository gets the workflows this project tests, and what to set."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from workflow_runner import ROOT

from fleetctl.cli import main
from fleetctl.forge.adoption import WORKFLOWS


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    assert main(["init", str(tmp_path), "--github"]) == 0
    return tmp_path


def test_the_workflows_are_those_that_are_tested(repository: Path) -> None:
    """Byte for byte; only how fleetctl is installed is the team's own."""
    for name in WORKFLOWS:
        ours = ROOT / ".github" / "workflows" / f"{name}.yml"
        assert ours.read_text() == (repository / ".github" / "workflows" / f"{name}.yml").read_text()


def test_the_checklist_names_everything_that_is_used(repository: Path) -> None:
    """Every environment, variable and secret of the workflows is on the list, and nothing else is."""
    texts = [path.read_text() for path in (repository / ".github" / "workflows").iterdir()]
    jobs = [job for text in texts for job in yaml.safe_load(text)["jobs"].values()]
    used = {name for text in texts for name in re.findall(r"(?:vars|secrets)\.([A-Z_]+)", text)}
    used |= {job["environment"] for job in jobs if "environment" in job}
    listed = set()
    for line in (repository / ".github" / "CHECKLIST.md").read_text().splitlines():
        if line.startswith("- [ ] `"):
            listed |= set(re.findall(r"`([A-Za-z_]+)`(?=[,:])", line.partition(": ")[0] + ":"))

    assert set() == used - listed
    assert {"plan"} >= listed - used


def test_every_local_action_is_there(repository: Path) -> None:
    """A workflow calls no action and no other workflow that was not written."""
    for path in (repository / ".github" / "workflows").iterdir():
        for used in re.findall(r"uses: \./(\S+)", path.read_text()):
            found = repository / used
            assert (found if found.suffix == ".yml" else found / "action.yml").is_file()


def test_what_is_written_has_no_holes(repository: Path) -> None:
    """zizmor is content with a team's workflows as it is with ours."""
    zizmor = shutil.which("zizmor", path=str(Path(sys.executable).parent))
    assert zizmor, "zizmor is a dependency of development"
    done = subprocess.run(
        [zizmor, "--offline", "--quiet", "--no-progress", repository / ".github"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stdout


def test_nothing_that_is_there_is_touched(tmp_path: Path) -> None:
    """A team that has edited a workflow keeps it."""
    mine = tmp_path / ".github" / "workflows" / "plan.yml"
    mine.parent.mkdir(parents=True)
    mine.write_text("name: mine\n")
    main(["init", str(tmp_path), "--github"])

    assert "name: mine\n" == mine.read_text()


def test_without_the_option_there_is_no_github(tmp_path: Path) -> None:
    """`init` writes a fleet and nothing else."""
    main(["init", str(tmp_path)])

    assert not (tmp_path / ".github").exists()
