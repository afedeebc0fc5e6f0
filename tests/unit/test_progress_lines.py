"""Progress in a log: enough lines to see that work goes on and when it ends, and no more."""

from contextlib import ExitStack

import pytest

from fleetctl.build.variants import told_of
from fleetctl.cli.bars import Bars
from fleetctl.manifest.schema import VariantName
from fleetctl.report.console import PlainProgress, duration


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def lines(
    capsys: pytest.CaptureFixture[str], *, steps: int, seconds: float, first: int = 0, total: int = 0
) -> list[str]:
    """What is printed of `steps` steps that take `seconds` each, after `first` that were done before."""
    clock = Clock()
    progress = PlainProgress("train", None, clock=clock)
    if first:
        progress(first, total=total or first + steps)
    for _ in range(steps):
        clock.now += seconds
        progress(1, total=total or first + steps)
    return capsys.readouterr().err.splitlines()


def test_a_line_every_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    """Ten lines for a training of eight minutes, each with the time that is left."""
    said = lines(capsys, steps=480, seconds=1.0)

    assert ["  train", "  train  10 %, about 7 min left", "  train  20 %, about 6 min left"] == said[:3]
    assert ["  train  90 %, about 48 s left", "  train 100 %"] == said[-2:]
    assert len(said) == 11


def test_quick_work_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """What is over at once needs no percentages."""
    assert ["  train"] == lines(capsys, steps=1000, seconds=0.001)


def test_slow_work_is_heard_every_minute(capsys: pytest.CaptureFixture[str]) -> None:
    """A tenth of ten hours is too long a silence."""
    said = lines(capsys, steps=60, seconds=30.0, total=1200)

    assert ["  train", "  train   0 %, about 9 h 59 min left"] == said[:2]
    assert len(said) == 31


def test_resumed_work_is_judged_by_what_is_done_now(capsys: pytest.CaptureFixture[str]) -> None:
    """What an earlier run did took this one no time."""
    said = lines(capsys, steps=200, seconds=1.0, first=200)

    assert ["  train", "  train  50 %, about 3 min left", "  train  60 %, about 3 min left"] == said[:3]
    assert ["  train  90 %, about 40 s left", "  train 100 %"] == said[-2:]


def test_getting_ready_says_nothing_of_the_speed(capsys: pytest.CaptureFixture[str]) -> None:
    """A minute in which TensorFlow compiles the first of a hundred steps does not make hours of the rest."""
    clock = Clock()
    progress = PlainProgress("train", None, clock=clock)
    progress(0, total=100)
    clock.now += 60
    for _ in range(20):
        progress(1, total=100)
        clock.now += 1

    assert "  train  10 %, about 90 s left" in capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (40, "40 s"), (100, "100 s"), (130, "2 min"), (3000, "50 min"), (7800, "2 h 10 min")],
)
def test_times_are_as_exact_as_a_person_needs(seconds: float, text: str) -> None:
    """Seconds, minutes, or hours and minutes."""
    assert text == duration(seconds)


def test_a_build_says_what_its_stages_took() -> None:
    """Minutes until the next stage began, variants together; a stage that comes again adds to its own."""
    clock = Clock()
    with ExitStack() as stack:
        bars = Bars(stack, clock=clock)
        for stage, seconds in [
            ("reader: read photos", 30),
            ("reader: train", 600),
            ("reader: convert float32", 12),
            ("reader: evaluate float32", 6),
            ("reader: convert int8-qat", 48),
            ("reader: fine-tune int8-qat, resumed at step 2 of 5", 120),
        ]:
            bars(stage, 1, 2)
            clock.now += seconds
        took = bars.took()

    assert "reader: read photos 0.5 min, reader: train 10.0 min, reader: convert 1.0 min" in took
    assert took.endswith(", reader: evaluate 0.1 min, reader: fine-tune 2.0 min")


def test_a_stage_of_a_variant_is_named_before_where_it_goes_on() -> None:
    """It is the variant's fine-tuning that was resumed, not its steps that are."""
    told: list[str] = []
    progress = told_of(VariantName.INT8_QAT, lambda stage, *_: told.append(stage))

    progress("fine-tune", 0, 5)
    progress("fine-tune, resumed at step 2 of 5", 2, 5)

    assert ["fine-tune int8-qat", "fine-tune int8-qat, resumed at step 2 of 5"] == told


def test_a_build_with_nothing_to_do_took_nothing() -> None:
    """What is up to date has no stages to speak of."""
    with ExitStack() as stack:
        assert "" == Bars(stack).took()
