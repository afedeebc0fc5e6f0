"""Which file a font is: named, packaged, installed, or absent with a way to get it."""

from pathlib import Path

import pytest

from fleetctl.errors import ToolchainMissing
from fleetctl.manifest.schema import Font
from fleetctl.models import fonts


def test_a_named_font_goes_before_installed_ones(tmp_path: Path) -> None:
    """FLEETCTL_FONT decides, and must exist."""
    (tmp_path / "mine.ttf").write_bytes(b"")

    assert fonts.find(environ={"FLEETCTL_FONT": str(tmp_path / "mine.ttf")}) == tmp_path / "mine.ttf"
    with pytest.raises(ToolchainMissing, match=r"gone\.ttf, which is not a file"):
        fonts.find(environ={"FLEETCTL_FONT": str(tmp_path / "gone.ttf")})


def test_a_font_in_the_users_folder_is_found(tmp_path: Path) -> None:
    """A font that was merely copied to a known place needs no fontconfig."""
    font = tmp_path / "noto" / "NotoSansEgyptianHieroglyphs-Regular.ttf"
    font.parent.mkdir()
    font.write_bytes(b"")

    assert fonts.find(environ={"PATH": ""}, places=(str(tmp_path),)) == font


def test_a_user_without_a_home_has_fonts_elsewhere(tmp_path: Path) -> None:
    """As in a container whose user is a number: the other places are looked at."""
    font = tmp_path / "NotoSansEgyptianHieroglyphs-Regular.ttf"
    font.write_bytes(b"")

    assert fonts.find(environ={"PATH": ""}, places=("~nobody-of-that-name/fonts", str(tmp_path))) == font


def test_no_font_says_how_to_get_one(tmp_path: Path) -> None:
    """Without any font the error names the packages that bring it."""
    with pytest.raises(ToolchainMissing) as caught:
        fonts.find(environ={"PATH": ""}, places=(str(tmp_path),))

    assert "apt-get install fonts-noto-core" in caught.value.hint
    assert caught.value.exit_code == 22


def test_newgardiner_comes_with_the_build_tools() -> None:
    """No package manager of the system is asked for it: wherever models are built, it is there."""
    font = fonts.find(Font.NEWGARDINER, {"PATH": ""}, ())

    assert (font.name, font.is_file()) == ("NewGardinerSMP.ttf", True)


@pytest.mark.parametrize("name", ["AegyptusR_hint.ttf", "Aegyptus.ttf", "Aegyptus_hint.ttf", "Aegyptus.otf"])
def test_aegyptus_is_known_by_the_names_it_is_packaged_under(tmp_path: Path, name: str) -> None:
    """Distributions and its author name the file differently; its bold face is another font."""
    for each in ("AegyptusB_hint.ttf", name):
        (tmp_path / each).write_bytes(b"")

    assert fonts.find(Font.AEGYPTUS, {}, (str(tmp_path),)) == tmp_path / name


def test_a_font_that_was_asked_for_is_not_replaced_by_another(tmp_path: Path) -> None:
    """FLEETCTL_FONT stands for Noto alone: another font is another dataset, which somebody has to choose."""
    (tmp_path / "mine.ttf").write_bytes(b"")

    with pytest.raises(ToolchainMissing, match="no font aegyptus is installed") as caught:
        fonts.find(Font.AEGYPTUS, {"FLEETCTL_FONT": str(tmp_path / "mine.ttf")}, (str(tmp_path),))

    assert "apt-get install fonts-ancient-scripts" in caught.value.hint
