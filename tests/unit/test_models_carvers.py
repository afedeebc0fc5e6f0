"""Drawings made by several processes: the same pixels as by one, and the same mistakes told."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fleetctl.errors import BuildError
from fleetctl.models import carvers, fonts
from fleetctl.models.carvers import Drawing, draw
from fleetctl.models.rendered import Carver

WANTED: list[Drawing] = [(sign, index) for sign in ("G17", "N35", "S34") for index in range(9)]
SEED = 5


@pytest.fixture(scope="module")
def alone() -> list[NDArray[np.uint8]]:
    carver = Carver([fonts.find()], seed=SEED)
    return [carver.sample(*each) for each in WANTED]


@pytest.mark.parametrize("helpers", [1, 2, 5])
def test_pixels_are_those_of_one_process(helpers: int, alone: list[NDArray[np.uint8]]) -> None:
    """Bit by bit and in the order asked for: a model's digest says that its samples were these."""
    together = list(draw([fonts.find()], SEED, WANTED, helpers=helpers))

    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))
    assert {(np.dtype(np.uint8), (75, 50), True)} == {
        (each.dtype, each.shape, each.flags.writeable) for each in together
    }


def test_a_sign_that_is_none_is_told_where_it_is_drawn() -> None:
    """The drawings before it are whole; the mistake is told once, by this process."""
    drawn = draw([fonts.find()], SEED, [*WANTED[:4], ("G17X", 0), *WANTED[4:]], helpers=2)

    assert 4 == len(list(itertools.islice(drawn, 4)))
    with pytest.raises(BuildError, match="G17X is not a sign that Unicode has"):
        next(drawn)


def test_helpers_that_fail_are_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: list[NDArray[np.uint8]]
) -> None:
    """A helper that cannot even start leaves its drawings to this process."""
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    together = list(draw([fonts.find()], SEED, WANTED[:6], helpers=2))

    assert all(np.array_equal(a, b) for a, b in zip(alone[:6], together, strict=True))


def test_few_drawings_need_no_helpers() -> None:
    """A process takes as long to start as some dozens of drawings."""
    assert 0 == carvers._useful(carvers.WORTH_HELPERS - 1)
    assert [] == list(draw([fonts.find()], SEED, []))
