"""Which samples become golden: safe from the noise of healthy boards, and telling about bad releases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fleetctl.errors import BuildError
from fleetctl.manifest.schema import VariantName
from fleetctl.models import golden, kernels
from fleetctl.models.golden import Candidate, Effect, Kind
from fleetctl.models.kernels import Noise
from fleetctl.models.samples import Samples

LABELS = ("G17", "M17", "N35")
SURE, CLOSE, UNSURE, WRONG = (0.9, 0.06, 0.04), (0.6, 0.3, 0.1), (0.5, 0.45, 0.05), (0.05, 0.9, 0.05)


def scores(*rows: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


def samples(truth: list[str], greys: list[int] | None = None) -> Samples:
    images = [np.full((4, 3), grey, np.uint8) for grey in greys or [100] * len(truth)]
    return Samples(images, truth, [f"{number}.png" for number in range(len(truth))])


def quiet(count: int) -> Noise:
    return Noise(np.zeros(count, np.float32), np.zeros(count, np.float32))


def easy(count: int) -> list[Candidate]:
    return [Candidate(index, Kind.EASY) for index in range(count)]


def effect(count: int, *flipped: int) -> Effect:
    flips = np.zeros(count, bool)
    flips[list(flipped)] = True
    return Effect(flips, np.zeros(count, np.float32))


def test_golden_samples_are_right_in_every_model_and_by_a_margin() -> None:
    """A sample that one of the models gets wrong, or just so, comes after better ones."""
    exact, quantized = scores(SURE, SURE, SURE, SURE), scores(WRONG, UNSURE, SURE, SURE)

    pool = golden.candidates(samples(["G17"] * 4), LABELS, [exact, quantized], count=2, seed=0)

    assert {candidate.index for candidate in pool} == {2, 3}


def test_golden_samples_cover_the_signs() -> None:
    """One of each sign before a second of any."""
    truth = ["G17"] * 8 + ["M17", "N35"]
    rows = scores(*[SURE] * 8, (0.05, 0.9, 0.05), (0.05, 0.05, 0.9))

    for seed in range(5):
        pool = golden.candidates(samples(truth), LABELS, [rows], count=3, seed=seed)
        chosen = golden.pick(pool, quiet(len(pool)), [], count=3, floor=0.12)

        assert {truth[pool[place].index] for place in chosen} == set(LABELS)


def test_the_ends_of_the_light_are_golden() -> None:
    """The darkest and the brightest photo are in a set that has room for them."""
    greys = list(range(20, 220, 10))

    pool = golden.candidates(samples(["G17"] * 20, greys), LABELS, [scores(*[SURE] * 20)], count=8, seed=0)
    chosen = golden.pick(pool, quiet(len(pool)), [], count=8, floor=0.12)

    assert {0, 19} <= {pool[place].index for place in chosen}


def test_look_alikes_are_golden_if_their_lead_is_safe() -> None:
    """The smallest lead over the minimum is taken; one under it is not."""
    rows = scores(*[SURE] * 8, CLOSE, UNSURE)

    pool = golden.candidates(samples(["G17"] * 10), LABELS, [rows], count=4, seed=0)
    kinds = {candidate.index: candidate.kind for candidate in pool}

    assert kinds[8] is Kind.LOOK_ALIKE
    assert 9 not in kinds


def test_an_unsure_sample_is_one_that_boards_reject() -> None:
    """A low best score with a safe lead belongs into the set, even where it is read wrongly alike."""
    labels = tuple(f"A{number}" for number in range(1, 11))
    low = (0.4, *[0.6 / 9] * 9)
    rows = scores(*[(0.91, *[0.01] * 9)] * 20, low)

    pool = golden.candidates(samples(["A1"] * 20 + ["A2"]), labels, [rows], count=8, seed=0)
    chosen = golden.pick(pool, quiet(len(pool)), [], count=8, floor=0.12)

    assert (20, Kind.UNSURE) in {(pool[place].index, pool[place].kind) for place in chosen}


def test_noisy_samples_are_passed_over() -> None:
    """What kernels move by over a third of the tolerance, or whose lead they eat up, is not golden."""
    noise = Noise(
        np.array([0, 0.05, 0, 0], np.float32),
        np.array([0, 0, 0.2, 0], np.float32),
    )

    assert golden.pick(easy(4), noise, [], count=2, floor=0.12) == [0, 3]


def test_noisy_samples_serve_where_there_are_no_others() -> None:
    """A set is never smaller than asked for while there are samples."""
    noise = Noise(np.array([0, 0.07, 0.2], np.float32), np.zeros(3, np.float32))

    assert golden.pick(easy(3), noise, [], count=3, floor=0.12) == [0, 1, 2]


def test_what_would_be_missed_is_added() -> None:
    """A bad release that shows in two later candidates only brings them into the set."""
    assert golden.pick(easy(8), quiet(8), [effect(8, 5, 7)], count=3, floor=0.12) == [0, 5, 7]


def test_what_shows_already_changes_nothing() -> None:
    """Two samples that give a bad release away are enough."""
    assert golden.pick(easy(8), quiet(8), [effect(8, 0, 1, 6)], count=3, floor=0.12) == [0, 1, 2]


def test_one_bad_release_is_not_traded_for_another() -> None:
    """A sample that another bad release needs stays."""
    needs_first, needs_last = effect(8, 0, 1), effect(8, 6, 7)

    chosen = golden.pick(easy(8), quiet(8), [needs_first, needs_last], count=4, floor=0.12)

    assert chosen == [0, 1, 6, 7]


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(1, 20), st.integers(0, 3))
def test_golden_samples_are_distinct_and_seeded(size: int, count: int, seed: int) -> None:
    """As many as were asked for or there are, none twice, and the same for the same seed."""
    rng = np.random.default_rng(size)
    rows = rng.dirichlet([0.3] * 3, size).astype(np.float32)
    chosen_from = samples([LABELS[i] for i in rng.integers(0, 3, size)])

    pool = golden.candidates(chosen_from, LABELS, [rows], count=count, seed=seed)
    noise = Noise(*(rng.uniform(0, 0.2, (2, len(pool))).astype(np.float32)))
    effects = [Effect(rng.random(len(pool)) < 0.2, np.zeros(len(pool), np.float32)) for _ in range(3)]
    chosen = golden.pick(pool, noise, effects, count=count, floor=0.12)

    assert len({pool[place].index for place in chosen}) == len(chosen) == min(size, count)
    assert pool == golden.candidates(chosen_from, LABELS, [rows], count=count, seed=seed)
    assert chosen == golden.pick(pool, noise, effects, count=count, floor=0.12)


@pytest.mark.parametrize(
    ("variant", "noise", "tolerance"),
    [
        (VariantName.FLOAT32, 3e-6, 0.01),
        (VariantName.FLOAT16, 0.0, 0.02),
        (VariantName.INT8, 0.05, 0.12),
        (VariantName.INT8, 0.0703, 0.141),
        (VariantName.FLOAT32, 0.02, 0.04),
        (VariantName.DYNAMIC, 0.7, 1.0),
    ],
)
def test_tolerance_is_twice_the_noise_and_never_under_its_floor(
    variant: VariantName, noise: float, tolerance: float
) -> None:
    """What is seen on this host counts double, and what was once seen on all counts at least."""
    assert golden.tolerance(variant, np.array([0.0, noise], np.float32)) == pytest.approx(tolerance)


def test_golden_samples_have_one_size() -> None:
    """Samples of the commonest size are taken: they travel as one array."""
    images = [np.zeros(size, np.uint8) for size in ((4, 4), (5, 4), (5, 4))]

    assert golden.rows_of_one_size(Samples(images, ["a", "b", "c"], ["1", "2", "3"])) == [1, 2]


def test_no_sample_is_an_error() -> None:
    """There is nothing to choose from."""
    with pytest.raises(BuildError, match="there are no samples to choose golden ones from"):
        golden.rows_of_one_size(Samples([], [], []))


def of_sizes(*sizes: tuple[int, int]) -> Samples:
    images = [np.full(size, 10 * number, np.uint8) for number, size in enumerate(sizes)]
    return Samples(images, ["G17"] * len(sizes), [f"{number}.png" for number in range(len(sizes))])


FRAME = {"shape": [8, 6, 1], "fit": "contain"}


@pytest.mark.parametrize(
    ("photos", "count", "rows"),
    [
        (of_sizes((9, 9), (9, 9)), 16, [0, 1]),
        (of_sizes(*[(9, 9)] * 3, (5, 5)), 1, [0, 1, 2]),
        (of_sizes((32, 24)), 1, [0]),
    ],
    ids=["all alike", "enough alike", "just small enough"],
)
def test_photos_travel_as_they_are(photos: Samples, count: int, rows: list[int]) -> None:
    """Where the commonest size has enough of them, and small ones, boards get the very photos."""
    found = golden.travelling(photos, FRAME, count=count)

    assert (rows, False) == (found.rows, found.altered)
    assert all(shown is photos.images[row] for shown, row in zip(found.samples.images, rows, strict=True))


@pytest.mark.parametrize(
    "photos",
    [of_sizes((9, 9), (9, 9), (5, 4), (1, 30)), of_sizes((33, 24), (33, 24), (33, 24), (33, 24))],
    ids=["of many sizes", "of a camera"],
)
def test_photos_are_scaled_to_travel(photos: Samples) -> None:
    """Photos that people cut out have a size each: else one of them would be all that proves a release."""
    found = golden.travelling(photos, FRAME, count=2)

    assert ([0, 1, 2, 3], True) == (found.rows, found.altered)
    assert {(16, 12)} == {image.shape for image in found.samples.images}
    assert [0, 10, 20, 30] == [int(image[8, 6]) for image in found.samples.images]
    assert (photos.labels, photos.names) == (found.samples.labels, found.samples.names)


def test_noise_is_the_largest_over_all_kernels() -> None:
    """Of the score of the best label, and of its lead: one that falls behind has lost more than its lead."""
    others = {"one": scores((0.85, 0.1, 0.05), CLOSE), "two": scores(SURE, (0.4, 0.5, 0.1))}

    noise = kernels.noise(scores(SURE, CLOSE), others)

    assert noise.score.tolist() == pytest.approx([0.05, 0.2])
    assert noise.gap.tolist() == pytest.approx([0.09, 0.4])
