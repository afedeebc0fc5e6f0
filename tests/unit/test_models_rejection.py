"""UNKNOWN is a decision: what a threshold on the score rejects, and what it lets through."""

from hypothesis import given
from hypothesis import strategies as st

from fleetctl.artifact import GoldenAnswer
from fleetctl.models.evaluate import Rejection, reject

SIGNS = ("G17", "N35", "UNKNOWN")


def test_each_photo_is_counted_once() -> None:
    """Right, wrong and rejected labelled photos, and UNKNOWN ones that are rejected and that are not."""
    answered = [
        ("G17", GoldenAnswer("G17", 0.9)),
        ("G17", GoldenAnswer("N35", 0.5)),  # the threshold itself is accepted, as on a board
        ("N35", GoldenAnswer("N35", 0.49)),
        ("UNKNOWN", GoldenAnswer("N35", 0.2)),
        ("UNKNOWN", GoldenAnswer("G17", 0.8)),
    ]
    measured = reject([truth for truth, _ in answered], [answer for _, answer in answered], 0.5)

    assert Rejection(0.5, labelled=3, accepted=2, right=1, unknown=2, unknown_rejected=1) == measured
    assert 0.5 == measured.top1_accepted


def test_nothing_accepted_is_nothing_right() -> None:
    """Where every photo is rejected there is no share of right answers to speak of."""
    assert 0.0 == reject(["G17"], [GoldenAnswer("G17", 0.3)], 0.9).top1_accepted


answers = st.lists(
    st.tuples(st.sampled_from(SIGNS), st.builds(GoldenAnswer, st.sampled_from(SIGNS[:2]), st.floats(0, 1)))
)


@given(answers, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_threshold_rejects_more(
    answered: list[tuple[str, GoldenAnswer]], one: float, other: float
) -> None:
    """Raising the threshold never accepts a photo that was rejected; threshold 0 accepts all."""
    truth, said = [truth for truth, _ in answered], [answer for _, answer in answered]
    low, high = (reject(truth, said, threshold) for threshold in sorted((one, other)))
    nothing = reject(truth, said, 0.0)

    assert low.accepted >= high.accepted >= high.right
    assert low.unknown_rejected <= high.unknown_rejected <= high.unknown
    assert (nothing.labelled, 0) == (nothing.accepted, nothing.unknown_rejected)
