"""What may go of what a fleet keeps: decided of facts alone."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fleetctl.lock_history import Change, wanted_versions
from fleetctl.pruning import Kind, Thing, removable

SINCE = 100.0
_names = st.sampled_from("abcdefgh")
_sets = st.frozensets(_names, max_size=4)
_used = st.floats(0, 200)
_blobs = st.builds(lambda n, used: Thing(Kind.BLOB, Path(n), 1, used, (frozenset(n),)), _names, _used)
_deltas = st.builds(
    lambda pair, used: Thing(Kind.DELTA, Path(".".join(pair)), 1, used, (frozenset(pair),)),
    st.tuples(_names, _names),
    _used,
)
_builds = st.builds(
    lambda n, used, inputs, names: Thing(
        Kind.BUILD, Path(f"build-{n}"), 1, used, tuple(frozenset([f"input-{each}"]) for each in inputs), names
    ),
    *(_names, _used, _sets, _sets),
)
_things = st.lists(st.one_of(_blobs, _deltas, _builds), max_size=30, unique_by=lambda thing: thing.path)
_roots = _sets.flatmap(lambda blobs: _sets.map(lambda inputs: blobs | {f"input-{each}" for each in inputs}))


@given(_things, _roots)
def test_nothing_that_is_reachable_goes(things: list[Thing], roots: frozenset[str]) -> None:
    """Not what a root names, what a kept build names, the patch between two of these, or what is young."""
    gone = removable(things, roots, SINCE)
    kept = [thing for thing in things if thing not in gone]
    reached = roots.union(*(thing.names for thing in kept))

    assert all(thing.used < SINCE for thing in gone)
    assert not [thing for thing in gone if any(group <= reached for group in thing.groups)]


@given(_things, _roots)
def test_whoever_is_killed_on_the_way_leaves_no_name_of_what_is_gone(
    things: list[Thing], roots: frozenset[str]
) -> None:
    """After any number of removals, each build that is left has every blob that it had."""
    gone = removable(things, roots, SINCE)
    for done in range(len(gone) + 1):
        lost = {thing.path.name for thing in gone[:done] if thing.kind is Kind.BLOB}

        assert not [thing for thing in things if thing not in gone[:done] and thing.names & lost]


@given(_things, _roots)
def test_what_is_left_is_not_removed_later(things: list[Thing], roots: frozenset[str]) -> None:
    """All goes at once: a second look finds nothing."""
    gone = removable(things, roots, SINCE)

    assert [] == removable([thing for thing in things if thing not in gone], roots, SINCE)


def test_the_lock_before_todays_is_wanted_however_old_it_is() -> None:
    """Of a fleet at rest for a year: boards may be sent a delta from it, and go back to it."""
    history = [Change(1, "0", "a"), Change(2, "a", "b"), Change(3, "b", "c")]

    assert {"b", "c"} == wanted_versions(["c"], history, SINCE)


def test_what_was_in_force_on_the_first_of_the_days_is_wanted() -> None:
    """It was replaced within them."""
    history = [Change(1, "a", "b"), Change(101, "b", "c"), Change(102, "c", "d"), Change(103, "d", "e")]

    assert {"b", "c", "d", "e"} == wanted_versions(["e"], history, SINCE)
