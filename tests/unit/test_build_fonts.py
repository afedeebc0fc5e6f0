"""Fonts in a build: named by its recipe, known by their bytes to the machine that draws."""

from pathlib import Path

import pytest
from toy_build import ToyStages, remodelled, toy_fleet

from fleetctl.build.builder import build, check
from fleetctl.build.stages import toolchain
from fleetctl.errors import BuildError, ToolchainMissing
from fleetctl.manifest.schema import Fleet, FolderDataset, Font, RenderedDataset, VariantName, WallsDataset
from fleetctl.models import fonts
from fleetctl.models.dataset_digest import fonts_of
from fleetctl.project import Project
from fleetctl.store import sha256


def drawing_fleet(tmp_path: Path) -> tuple[Fleet, Project]:
    """The toy fleet, with a model whose samples are drawn."""
    fleet, project = toy_fleet(tmp_path)
    return remodelled(fleet, dataset=RenderedDataset()), project


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another release of the font, as far as its bytes go."""
    font = tmp_path / "other.ttf"
    font.write_bytes(b"another release")
    return font


def test_a_lock_holds_where_the_font_is_another_or_absent(
    tmp_path: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What boards run is decided by git, not by what is installed where somebody looks at it."""
    fleet, project = drawing_fleet(tmp_path)
    build(fleet, project, stages=ToyStages())

    monkeypatch.setenv("FLEETCTL_FONT", str(other))
    check(fleet, project)
    monkeypatch.setenv("FLEETCTL_FONT", str(tmp_path / "gone.ttf"))
    check(fleet, project)


def test_what_was_drawn_from_another_file_is_not_taken_up_again(
    tmp_path: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build that failed late goes on from its training, unless the signs would look otherwise now."""
    fleet, project = drawing_fleet(tmp_path)
    first, again, anew = (ToyStages(failing={VariantName.INT8}) for _ in range(3))

    for stages in (first, again):
        with pytest.raises(BuildError, match="cannot be built"):
            build(fleet, project, stages=stages)
    monkeypatch.setenv("FLEETCTL_FONT", str(other))
    with pytest.raises(BuildError, match="cannot be built"):
        build(fleet, project, stages=anew)

    assert ["train" in stages.asked for stages in (first, again, anew)] == [True, False, True]


def test_what_was_drawn_elsewhere_is_locked_where_no_font_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pipeline one machine builds and another, which can draw nothing, writes the lock."""
    fleet, project = drawing_fleet(tmp_path)
    build(fleet, project, stages=ToyStages())
    project.lockfile.unlink()
    monkeypatch.setenv("FLEETCTL_FONT", str(tmp_path / "gone.ttf"))
    stages = ToyStages()

    build(fleet, project, stages=stages)

    assert stages.asked == []
    check(fleet, project)


def test_the_toolchain_says_which_files_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the start of their digests; a font that is absent is said before anything is built."""
    fleet, _ = drawing_fleet(tmp_path)
    model = fleet.models["toy"]

    tools = toolchain(model)
    monkeypatch.setenv("FLEETCTL_FONT", str(tmp_path / "gone.ttf"))

    assert tools["font noto"] == sha256(fonts.find(environ={}).read_bytes())[:12]
    with pytest.raises(ToolchainMissing, match=r"gone\.ttf"):
        toolchain(model)


def test_only_what_is_drawn_needs_a_font() -> None:
    """Photos alone, and walls of photos, need none."""
    both = (Font.NOTO, Font.NEWGARDINER)

    assert fonts_of(FolderDataset(Path("photos"), fonts=both)) == ()
    assert fonts_of(FolderDataset(Path("photos"), rendered=1, fonts=both)) == both
    assert fonts_of(WallsDataset(fonts=both)) == both
    assert fonts_of(WallsDataset(crops=Path("crops"), fonts=both)) == ()
