"""What only `make test-full` tries: whole matrices, of which the usual suite takes some, and long tests."""

import os
from collections.abc import Sequence
from typing import TypeVar

import pytest

Case = TypeVar("Case")

FULL = "FLEETCTL_TEST_FULL" in os.environ


def first_of(cases: Sequence[Case], few: int = 1) -> Sequence[Case]:
    """All cases, or a few where the others would show the same again, slowly."""
    return cases if FULL else cases[:few]


def every(nth: int, cases: Sequence[Case]) -> Sequence[Case]:
    """All cases, or every nth of very many."""
    return cases if FULL else cases[::nth]


def takes(what: str) -> pytest.MarkDecorator:
    """Skips a test that takes `what`, minutes say, and says who runs it."""
    return pytest.mark.skipif(not FULL, reason=f"takes {what}: make test-full")
