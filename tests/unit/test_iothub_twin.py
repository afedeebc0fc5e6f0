"""What a twin may hold, how large it is, and the smallest patch between two."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.transports.iothub_twin import difference, faults, merged, twin_size

KEYS = st.text(
    st.characters(blacklist_categories=["Cc", "Cs"], blacklist_characters=".$ "), min_size=1, max_size=8
)
SCALARS = st.booleans() | st.integers(-(2**52), 2**52 - 1) | st.floats(allow_nan=False) | st.text(max_size=8)
TWINS = st.recursive(
    st.dictionaries(KEYS, SCALARS, max_size=4),
    lambda inner: st.dictionaries(KEYS, SCALARS | inner, max_size=4),
    max_leaves=12,
)


@given(TWINS, TWINS)
def test_a_difference_makes_one_of_the_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Laid over the old twin, the difference gives the new one; between equals there is none."""
    assert new == merged(old, difference(old, new))
    assert {} == difference(new, new)


@given(TWINS)
def test_what_a_difference_does_not_name_stays(twin: dict[str, Any]) -> None:
    """Nobody else's tags are touched by a change of ours."""
    theirs = {"theirs": {"kept": True}}
    patch = difference({}, {"ours": twin})

    assert {"kept": True} == merged(theirs, patch)["theirs"]


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({}, 0),
        ({"ab": "cd"}, 4),
        ({"ab": True}, 6),
        ({"ab": 7, "c": 1.5}, 19),
        ({"ab": {"c": "d"}}, 4),
        ({"ab": ["cd", 1]}, 12),
        ({"é": "𓂀"}, 6),
        ({"ab": "c\n\x7fd"}, 4),
        ({"ab": None}, 2),
        ({"$version": 7, "ab": "cd"}, 4),
    ],
)
def test_sizes_are_counted_as_the_hub_counts(value: dict[str, Any], size: int) -> None:
    """UTF-8 of keys and strings without control characters, 8 a number, 4 a boolean, nothing for `$` keys."""
    assert size == twin_size(value)


def nested(depth: int) -> dict[str, Any]:
    return {"a": nested(depth - 1)} if depth else {}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"a.b": 1}, "no dot"),
        ({"a b": 1}, "no dot, dollar sign, space"),
        ({"$a": 1}, "dollar"),
        ({"a\x85": 1}, "control"),
        ({"": 1}, "1 to 1024"),
        ({"x" * 1025: 1}, "1 to 1024"),
        ({"a": {"b": "x" * 4097}}, r"a\.b is a text of 4,097 bytes"),
        ({"a": [2**52]}, r"a\[0\] is a number beyond"),
        (nested(12), "deeper than 10"),
    ],
)
def test_what_a_hub_would_not_take_is_named(value: dict[str, Any], says: str) -> None:
    """Each fault is a sentence that names the place."""
    (fault,) = faults(value)

    assert re.search(says, fault), fault


@given(TWINS)
def test_what_has_no_fault_is_taken(twin: dict[str, Any]) -> None:
    """Twins within the rules have no faults."""
    assert [] == list(faults(twin))
