"""JSON of any shape, and documents that have some of it where something else belongs."""

import copy
from typing import Any

from hypothesis import strategies as st


def _json(floats: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.none() | st.booleans() | st.integers() | floats | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
        max_leaves=12,
    )


ANYTHING = _json(st.floats())
FINITE = _json(st.floats(allow_nan=False, allow_infinity=False))


@st.composite
def spoiled(draw: st.DrawFn, document: Any, values: st.SearchStrategy[Any] = ANYTHING) -> Any:
    """A copy of a document with one of `values` in place of any part of it."""
    whole = copy.deepcopy(document)
    place = whole
    while True:
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or draw(st.booleans()):
            break
        place = place[key]
    place[key] = draw(values)
    return whole
