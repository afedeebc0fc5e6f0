"""What is installed is what is tested: the wheel carries everything that is read at run time."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
    ]
    subprocess.run([*build, str(folder), str(REPOSITORY)], check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


def test_the_wheel_holds_playbooks_templates_and_board_runtime(wheel: Path) -> None:
    """Every playbook, plugin, template and board module of the tree is in the wheel."""
    shipped = set(zipfile.ZipFile(wheel).namelist())
    playbooks = {
        f"fleetctl/_playbooks/{path.relative_to(REPOSITORY / 'playbooks')}"
        for path in (REPOSITORY / "playbooks").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    templates = {
        f"fleetctl/_templates/{path.name}" for path in (REPOSITORY / "inventory/templates").iterdir()
    }
    workflows = {
        f"fleetctl/_github/{path.relative_to(REPOSITORY / '.github')}"
        for part in ("workflows", "actions")
        for path in (REPOSITORY / ".github" / part).rglob("*.yml")
    }
    runtime = {f"fleetctl/device/{path.name}" for path in (REPOSITORY / "fleetctl/device").glob("*.py")}

    assert playbooks and templates and runtime and workflows
    assert set() == (playbooks | templates | runtime | workflows) - shipped


def test_the_wheel_starts_a_fleet(wheel: Path, tmp_path: Path) -> None:
    """From the wheel alone, far from the tree, `init` writes a fleet that `validate` accepts."""
    unpacked = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(unpacked)
    script = (
        f"import sys; sys.path.insert(0, {str(unpacked)!r})\n"
        "import fleetctl; assert fleetctl.__file__.startswith(sys.path[0]), fleetctl.__file__\n"
        "from fleetctl.cli import main\n"
        "sys.exit(main(['init', '.', '--github']) or main(['validate']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr.count("error")) == (0, 0), done.stderr
    assert "valid" in done.stdout


def test_what_is_tested_of_an_installed_wheel_is_there() -> None:
    """CI tests the wheel on Pythons without TensorFlow by a list of files: none of them may have moved."""
    argv = ["make", "--dry-run", "--no-print-directory", "test-installed"]
    said = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    files = [word for word in said.split() if word.startswith("tests/")]

    assert 10 < len(files)
    assert [] == [name for name in files if not (REPOSITORY / name).is_file()]
