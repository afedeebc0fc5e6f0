"""Which samples show each layer's range: balanced, seeded, of the source that the manifest names."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.errors import BuildError
from fleetctl.manifest.schema import Quantization, RepresentativeSource
from fleetctl.models.representative import choose
from fleetctl.models.samples import Samples, drawn_name, is_drawn


def samples(photos: dict[str, int], drawings: dict[str, int] | None = None) -> Samples:
    """So many photos and drawings of each sign."""
    named = [(sign, f"{i:06d}_{sign}.png") for sign, count in photos.items() for i in range(count)]
    named += [(sign, drawn_name(sign, i)) for sign, count in (drawings or {}).items() for i in range(count)]
    images = [np.zeros((2, 2), np.uint8)] * len(named)
    return Samples(images, [sign for sign, _ in named], [name for _, name in named])


@given(
    st.dictionaries(st.sampled_from(["A1", "D21", "G17", "N35", "Z1"]), st.integers(1, 30), min_size=1),
    st.integers(1, 80),
    st.integers(0, 3),
)
def test_signs_take_turns(counts: dict[str, int], asked: int, seed: int) -> None:
    """As many as were asked for or all; no sign has two more than another that has some left; none twice."""
    chosen = choose(samples(counts), Quantization(representative=asked), seed=seed)

    taken = Counter(chosen.labels)
    assert min(asked, sum(counts.values())) == len(chosen) == len(set(chosen.names))
    left = [taken[sign] for sign, count in counts.items() if taken[sign] < count]
    assert not left or max(taken.values()) <= min(left) + 1


def test_the_choice_is_a_function_of_seed_and_names() -> None:
    """The order of the files on disk does not matter; the seed does."""
    whole = samples({"G17": 40, "N35": 40})
    quantization = Quantization(representative=10)

    first = choose(whole, quantization, seed=0).names

    assert choose(whole.pick(reversed(range(80))), quantization, seed=0).names == first
    assert choose(whole, quantization, seed=1).names != first


@pytest.mark.parametrize(
    ("source", "drawn"),
    [
        (RepresentativeSource.ALL, {True, False}),
        (RepresentativeSource.PHOTOS, {False}),
        (RepresentativeSource.RENDERED, {True}),
    ],
)
def test_the_manifest_names_the_source(source: RepresentativeSource, drawn: set[bool]) -> None:
    """Photos, drawings, or whatever there is."""
    whole = samples({"G17": 5, "N35": 5}, {"G17": 5, "N35": 5})

    chosen = choose(whole, Quantization(representative=16, source=source), seed=0)

    assert drawn == {is_drawn(name) for name in chosen.names}


@pytest.mark.parametrize("source", [RepresentativeSource.PHOTOS, RepresentativeSource.RENDERED])
def test_a_source_without_samples_is_refused(source: RepresentativeSource) -> None:
    """It is not quietly replaced by another one."""
    other = samples({}, {"G17": 3}) if source is RepresentativeSource.PHOTOS else samples({"G17": 3})

    with pytest.raises(BuildError, match=f"`quantization.source` is {source}, and there are none") as caught:
        choose(other, Quantization(source=source), seed=0)
    assert "source: all" in caught.value.hint
