"""What a team's repository needs so that GitHub runs its fleet: our workflows, and a list of what to set."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from fleetctl import __version__

WORKFLOWS = ("plan", "build", "rollout", "wave", "drift")
ACTIONS = ("edgetpu-compiler", "fonts")
CHECKLIST = Path(".github/CHECKLIST.md")


def adoption_files() -> dict[Path, str]:
    """Path below the repository's root -> text. Workflows are the very ones this project runs and tests."""
    ours, theirs = _ours(), files("fleetctl.forge") / "adoption_files"
    folder = Path(".github")
    return {
        **{
            folder / "workflows" / f"{name}.yml": _text(ours / "workflows" / f"{name}.yml")
            for name in WORKFLOWS
        },
        **{
            folder / "actions" / name / "action.yml": _text(ours / "actions" / name / "action.yml")
            for name in ACTIONS
        },
        folder / "actions/fleetctl/action.yml": _text(theirs / "action.yml"),
        folder / "fleetctl.txt": f"fleetctl[build]=={__version__}\n",
        folder / "CODEOWNERS": _text(theirs / "CODEOWNERS"),
        folder / "dependabot.yml": _text(theirs / "dependabot.yml"),
        folder / "zizmor.yml": _text(ours / "zizmor.yml"),
        CHECKLIST: _text(theirs / "CHECKLIST.md"),
    }


def _ours() -> Traversable:
    """`.github` of this project: in a wheel, and in a source tree."""
    inside = files("fleetctl") / "_github"
    return inside if inside.is_dir() else Path(__file__).parents[2] / ".github"


def _text(file: Traversable) -> str:
    return file.read_text("utf-8")
