"""Signs drawn as if carved: deterministic, various, and alike enough to the sign they show."""

import re
from pathlib import Path

import numpy as np
import pytest

from fleetctl.errors import BuildError
from fleetctl.manifest.schema import Font, RenderedDataset
from fleetctl.models import datasets, fonts, gardiner
from fleetctl.models.rendered import Carver, drawable


@pytest.fixture(scope="module")
def font() -> Path:
    """The installed hieroglyph font; the set-up of the tests installs one."""
    return fonts.find()


def test_the_list_of_signs_is_gardiners() -> None:
    """Unicode's names give Gardiner's codes, with their letters and variants."""
    signs = gardiner.characters()

    assert signs["A1"] == "\U00013000"
    assert {"G17", "Aa1", "Aa15", "G7a", "NL1", "Z1"} <= signs.keys()
    assert all(re.fullmatch(r"[A-Z][A-Za-z]?[0-9]+[a-z]?", sign) for sign in signs)


def test_the_usual_signs_can_be_drawn(font: Path) -> None:
    """Every sign of the default list has a character, and the font has a picture of each."""
    carver = Carver([font], seed=0)

    assert drawable(gardiner.USUAL_SIGNS, [font]) == list(gardiner.USUAL_SIGNS)
    assert len(set(gardiner.USUAL_SIGNS)) == len(gardiner.USUAL_SIGNS)
    pictures = {carver.sample(sign, 0).tobytes() for sign in gardiner.USUAL_SIGNS}
    assert len(pictures) == len(gardiner.USUAL_SIGNS)


def test_a_sample_looks_like_a_photo(font: Path) -> None:
    """75 x 50 grey, with bright ground at the border and something darker in the middle."""
    samples = np.stack([Carver([font], seed=0).sample("N5", index) for index in range(40)])

    assert (samples.shape, samples.dtype.name) == ((40, 75, 50), "uint8")
    border = np.concatenate([samples[:, :6], samples[:, -6:]], axis=1)
    assert np.median(border) > 140
    assert samples[:, 25:50, 15:35].mean() < border.mean() - 10


def test_samples_depend_on_seed_sign_and_index_alone(font: Path) -> None:
    """The order in which samples are drawn does not matter; each of the three does."""
    alone = Carver([font], seed=1).sample("G17", 5)
    carver = Carver([font], seed=1)
    carver.sample("N35", 0)

    assert (carver.sample("G17", 5) == alone).all()
    assert (carver.sample("G17", 6) != alone).any()
    assert (carver.sample("G1", 5) != alone).any()
    assert (Carver([font], seed=2).sample("G17", 5) != alone).any()


def test_signs_look_to_the_right(font: Path) -> None:
    """On the wall birds look right, in fonts left: the beak's side has less ink in the lower half."""
    mean = np.mean([Carver([font], seed=0).sample("G17", index) for index in range(60)], axis=0)
    darkness = mean.max() - mean
    columns = np.arange(50)

    head, tail = darkness[8:20].sum(axis=0), darkness[35:50].sum(axis=0)

    assert (head * columns).sum() / head.sum() > (tail * columns).sum() / tail.sum()


def test_a_sign_that_is_none_is_named(font: Path) -> None:
    """A misspelt code ends in one sentence."""
    with pytest.raises(BuildError, match="G999 is not a sign"):
        Carver([font], seed=0).sample("G999", 0)


def test_a_file_that_is_no_font_is_named(tmp_path: Path) -> None:
    """A font that cannot be read is said by its path."""
    (tmp_path / "font.ttf").write_bytes(b"nothing")

    with pytest.raises(BuildError, match=r"font\.ttf cannot be read as a font"):
        Carver([tmp_path / "font.ttf"], seed=0)


def test_the_rendered_dataset_is_split_and_repeatable(tmp_path: Path) -> None:
    """A fifth of each sign's samples is kept out, and a second load gives the same pixels."""
    dataset = RenderedDataset(samples_per_sign=10, signs=("G17", "N35"), seed=3)

    first, second = (datasets.load(dataset, base=tmp_path, cache=tmp_path) for _ in range(2))

    assert first.train.counts == {"G17": 8, "N35": 8}
    assert first.evaluation.counts == {"G17": 2, "N35": 2}
    assert all(
        (one == other).all() for one, other in zip(first.train.images, second.train.images, strict=True)
    )


def test_the_rendered_digest_follows_the_recipe(tmp_path: Path) -> None:
    """Count, signs, seed and fonts are part of what it is; naming the default list changes nothing."""
    variations = [
        RenderedDataset(),
        RenderedDataset(samples_per_sign=5),
        RenderedDataset(signs=("G17", "N35")),
        RenderedDataset(seed=1),
        RenderedDataset(fonts=(Font.NEWGARDINER,)),
        RenderedDataset(fonts=(Font.NOTO, Font.NEWGARDINER)),
        RenderedDataset(fonts=(Font.NEWGARDINER, Font.NOTO)),
    ]

    digests = [datasets.digest(each, base=tmp_path, cache=tmp_path) for each in variations]

    assert len(set(digests)) == len(variations)
    spelt_out = RenderedDataset(signs=gardiner.USUAL_SIGNS)
    assert datasets.digest(spelt_out, base=tmp_path, cache=tmp_path) == digests[0]
