"""Outlines of signs from several fonts, and of signs that Unicode lacks."""

from pathlib import Path

import numpy as np
import pytest

from fleetctl.errors import BuildError
from fleetctl.manifest.schema import FolderDataset, Font
from fleetctl.models import datasets, fonts, gardiner
from fleetctl.models.outlines import Outlines
from fleetctl.models.rendered import Carver, drawable

_PRIVATE = 0xF3771  # where a font may put what Unicode lacks


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A font of two signs: G17 as a bar, and D156, which Unicode lacks, as a square."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    def box(width: int, height: int) -> object:
        pen = TTGlyphPen(None)
        pen.moveTo((100, 0))
        for point in ((100, height), (100 + width, height), (100 + width, 0)):
            pen.lineTo(point)
        pen.closePath()
        return pen.glyph()

    names = [".notdef", "bar", "D156"]
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(names)
    font.setupCharacterMap({ord(gardiner.characters()["G17"]): "bar", _PRIVATE: "D156"})
    font.setupGlyf(dict(zip(names, (box(300, 300), box(100, 700), box(500, 500)), strict=True)))
    font.setupHorizontalMetrics(dict.fromkeys(names, (700, 100)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Two", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    path = tmp_path_factory.mktemp("fonts") / "two.ttf"
    font.save(path)
    return path


def test_fonts_take_turns(other: Path) -> None:
    """Sample 0 has the first font's outline and sample 1 the second's, each as if it were the only one."""
    noto = fonts.find()
    alone = [Carver([font], seed=0) for font in (noto, other)]
    together = Carver([noto, other], seed=0)

    for index in range(6):
        expected = alone[index % 2].sample("G17", index)
        assert np.array_equal(together.sample("G17", index), expected)


def test_a_font_without_the_sign_is_passed_over(other: Path) -> None:
    """What one font lacks, every sample has from the others."""
    noto = fonts.find()

    for index in range(4):
        expected = Carver([noto], seed=0).sample("N35", index)
        assert np.array_equal(Carver([other, noto], seed=0).sample("N35", index), expected)


def test_a_sign_that_unicode_lacks_is_drawn_where_a_font_names_it(other: Path) -> None:
    """D156 is no character; a glyph of that name will do, and without one it is not drawn."""
    assert "D156" not in gardiner.characters()
    left, top, right, bottom = Outlines([other]).outline("D156", 0).lines.getbbox() or (0, 0, 0, 0)
    assert (right - left, bottom - top) == (80, 80)  # half an em
    assert drawable(["D156", "G17", "M195"], [fonts.find(), other]) == ["D156", "G17"]
    assert drawable(["D156", "G17"], [fonts.find()]) == ["G17"]


def test_a_collection_of_fonts_is_read_like_its_first(other: Path, tmp_path: Path) -> None:
    """Noto and system fonts come as `.ttc` too."""
    from fontTools.ttLib import TTCollection, TTFont

    collection = TTCollection()
    collection.fonts = [TTFont(other), TTFont(fonts.find())]
    collection.save(tmp_path / "two.ttc")

    assert drawable(["D156", "G17", "M195"], [tmp_path / "two.ttc"]) == ["D156", "G17"]


def test_a_sign_that_no_font_has_is_told_with_the_fonts(other: Path) -> None:
    """A character of Unicode that the fonts lack, and a code that is none, are two mistakes."""
    with pytest.raises(BuildError, match=r"two\.ttf has no character for N35"):
        Outlines([other]).outline("N35", 0)
    with pytest.raises(BuildError, match="G999 is not a sign"):
        Outlines([other]).outline("G999", 0)


def test_newgardiner_has_every_usual_sign() -> None:
    """Whoever names it alone gets a reader of the same signs."""
    outlines = Outlines([fonts.find(Font.NEWGARDINER)])

    assert [sign for sign in gardiner.USUAL_SIGNS if not outlines.has(sign)] == []


def test_a_folder_is_taught_signs_beyond_unicode_by_a_font_that_has_them(
    other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signs that nobody photographed are drawn from whichever font of the dataset has them."""
    from PIL import Image

    monkeypatch.setenv("FLEETCTL_FONT", str(other))
    for number, sign in enumerate(("G17", "N35") * 5):
        path = tmp_path / "photos" / f"{number:04d}_{sign}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("L", (50, 75), 20 * number).save(path)
    dataset = FolderDataset(Path("photos"), rendered=2, fonts=(Font.NOTO, Font.NEWGARDINER))

    counts = datasets.load(dataset, base=tmp_path, cache=tmp_path).train.counts

    assert counts["D156"] == 2
    assert {"M195", "P98"}.isdisjoint(counts)
