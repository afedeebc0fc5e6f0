"""The model card: its numbers, its plots, and when it is written."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from PIL import Image
from toy_build import EACH, SIGNS, ToyStages, lose_local_state, remodelled, toy_fleet, toy_model

from fleetctl.build.builder import build, check
from fleetctl.build.cards import measurements_file
from fleetctl.checked_json import Malformed
from fleetctl.errors import GateRefused, LockStale
from fleetctl.manifest.schema import Gates, Model, Smoke, VariantName
from fleetctl.models.card import figures, markdown, plots, record, sections
from fleetctl.models.card.files import CARD
from fleetctl.models.card.record import Answers
from fleetctl.models.card.subject import Subject
from fleetctl.models.margins import GoldenSet
from fleetctl.models.progress import Progress
from fleetctl.models.samples import Split
from fleetctl.project import Project

LABELS = ("G17", "M17", "N35")
TRUTH = ("G17", "G17", "M17", "N35", "Z1")
ANSWERS = Answers((0, 1, 1, 2, 2), (0.95, 0.85, 0.65, 0.55, 0.35))


class CardStages(ToyStages):
    """Toy stages that remember what cards are about, and write the real one where it needs no model file."""

    subjects: list[Subject]

    def card(self, subject: Subject) -> dict[str, bytes]:
        self.subjects = [*getattr(self, "subjects", []), subject]
        return dict(super().card(subject))


def card_of(project: Project) -> Path:
    return project.artifacts / "toy" / CARD


def test_signs_come_in_gardiners_order() -> None:
    """A2 before A10, and Aa after Z."""
    assert figures.in_order(["Aa1", "Z1", "A10", "A2", "UNKNOWN", "M17a", "M17"]) == [
        "A2", "A10", "M17", "M17a", "Z1", "Aa1", "UNKNOWN",
    ]  # fmt: skip


def test_the_worst_sign_comes_first() -> None:
    """Recall and precision of each sign; one that is never answered has no precision."""
    rows = figures.by_class(TRUTH, ANSWERS, LABELS)

    assert [(r.sign, r.recall, r.precision) for r in rows] == [
        ("Z1", 0.0, None), ("G17", 0.5, 1.0), ("M17", 1.0, 0.5), ("N35", 1.0, 0.5),
    ]  # fmt: skip


def test_confusions_are_counted() -> None:
    """Most frequent first, and by name where equal."""
    assert figures.confusions(TRUTH, ANSWERS, LABELS) == [("G17", "M17", 1), ("Z1", "N35", 1)]


def test_the_matrix_holds_every_answer() -> None:
    """Rows are signs, columns what they were taken for."""
    signs, counts = figures.matrix(TRUTH, ANSWERS, LABELS)

    assert signs == ["G17", "M17", "N35", "Z1"]
    assert counts.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]]


def test_calibration_error_of_a_worked_example() -> None:
    """Five answers in five bins: the mean of |score - right|."""
    error = figures.calibration_error(figures.reliability(TRUTH, ANSWERS, LABELS))

    assert error == pytest.approx((0.05 + 0.85 + 0.35 + 0.45 + 0.35) / 5)


def test_a_threshold_rejects_what_lies_under_it() -> None:
    """At 0.6 three of five are still answered, two of them rightly, and one of two mistakes is kept back."""
    (row,) = [r for r in figures.rejections(TRUTH, ANSWERS, LABELS) if r.threshold == 0.6]

    assert (row.answered, row.accuracy, row.wrong_rejected) == pytest.approx((3 / 5, 2 / 3, 1 / 2))


def test_nothing_of_nothing_is_no_share() -> None:
    """Where no answer reaches a threshold, none of those that do is right; the card shows a dash."""
    unsure, right = Answers((0,), (0.2,)), ("G17",)
    rows = {row.threshold: row for row in figures.rejections(right, unsure, LABELS)}

    assert (1.0, 1.0, None) == (rows[0.0].answered, rows[0.0].accuracy, rows[0.0].wrong_rejected)
    assert (0.0, None, None) == (rows[0.9].answered, rows[0.9].accuracy, rows[0.9].wrong_rejected)
    assert "-" == markdown.percent(None)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(LABELS), st.integers(0, 2), st.floats(0, 1)), min_size=1))
def test_nothing_is_lost_in_the_bins(rows: list[tuple[str, int, float]]) -> None:
    """Every answer lies in exactly one bin, and the error is a fraction."""
    truth, best, score = zip(*rows, strict=True)

    bins = figures.reliability(truth, Answers(best, score), LABELS)

    assert sum(part.count for part in bins) == len(rows)
    assert 0 <= figures.calibration_error(bins) <= 1


@pytest.mark.parametrize("count", [3, 60])
def test_plots_are_a_function_of_their_numbers(count: int) -> None:
    """The same bytes twice, PNG, and no date or program name in them."""
    signs = [f"A{number}" for number in range(1, count + 1)]
    counts = np.diag(np.arange(1, count + 1))
    counts[0, 1] = 4
    bins = figures.reliability(TRUTH, ANSWERS, LABELS)

    drawn = [(plots.confusion_png(signs, counts), plots.reliability_png(bins, 0.1)) for _ in range(2)]

    assert drawn[0] == drawn[1]
    for png in drawn[0]:
        assert png.startswith(b"\x89PNG")
        assert not any(chunk in png for chunk in (b"tEXt", b"iTXt", b"tIME"))


@pytest.mark.parametrize("darkest", [(103, 0, 13), (8, 48, 107)], ids=["wrong", "right"])
def test_the_count_of_a_dark_cell_is_written_in_white(darkest: tuple[int, int, int]) -> None:
    """Whether the answers were right or wrong: black on dark red cannot be read."""
    counts = np.array([[0, 8], [0, 8]])
    picture = Image.open(io.BytesIO(plots.confusion_png(["G17", "M17"], counts))).convert("RGB")
    pixels = np.asarray(picture, int)[:, : picture.width * 3 // 4]  # without the scales of the colours
    rows, columns = np.nonzero((abs(pixels - darkest) < 4).all(axis=-1))
    cell = pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]

    assert (cell.min(axis=-1) > 200).any()


def test_a_cell_cannot_break_a_table() -> None:
    """A label with a bar, a tag or a line break stays inside its cell."""
    assert markdown.table(["a"], [["x|y\n<b>"]])[-1] == "| x\\|y &lt;b> |"


def test_measurements_read_back_as_they_were_written(tmp_path: Path) -> None:
    """Nothing is lost between a build and a card that is written later."""
    fleet, project = toy_fleet(tmp_path, toy_model(variants=(VariantName.INT8, VariantName.DYNAMIC)))
    build(fleet, project, stages=ToyStages())
    (kept,) = project.state.glob(f"build/*/{measurements_file('toy')}")

    measured = record.loads(kept.read_bytes())

    assert record.dumps(measured) == kept.read_bytes()
    assert set(measured.variants) == {"float32", "int8", "dynamic"}
    assert set(measured.data.counts) == set(SIGNS)


@pytest.mark.parametrize("harm", [b"", b"{}", b'{"schema": "fleetctl.measurements/v1"}', b"\xff"])
def test_damaged_measurements_are_malformed(harm: bytes) -> None:
    """Whatever lies there instead is said to be no measurement."""
    with pytest.raises(Malformed):
        record.loads(harm)


def test_a_build_writes_a_card(tmp_path: Path) -> None:
    """The card is there once the model is accepted, about what is locked."""
    fleet, project = toy_fleet(tmp_path)

    result = build(fleet, project, stages=ToyStages())

    assert card_of(project).is_file()
    assert [model.note for model in result.models] == [""]
    assert check(fleet, project).built == ()


def test_a_refused_model_gets_no_card(tmp_path: Path) -> None:
    """The card of what is locked stays what it was."""
    fleet, project = toy_fleet(tmp_path, toy_model(gates=Gates(max_size=3)))

    with pytest.raises(GateRefused):
        build(fleet, project, stages=ToyStages())

    assert not card_of(project).exists()


def test_a_model_that_is_up_to_date_keeps_its_card(tmp_path: Path) -> None:
    """Neither building again nor judging by other gates touches the file."""
    fleet, project = toy_fleet(tmp_path)
    build(fleet, project, stages=ToyStages())
    before = card_of(project).stat()

    build(fleet, project, stages=ToyStages())
    build(remodelled(fleet, gates=Gates(min_accuracy=0.5)), project, stages=ToyStages())

    assert (before.st_ino, before.st_mtime_ns) == (
        card_of(project).stat().st_ino,
        card_of(project).stat().st_mtime_ns,
    )


@pytest.mark.parametrize("harm", ["lost", "of another build", "without a plot"])
def test_a_card_that_is_not_current_is_written_again(tmp_path: Path, harm: str) -> None:
    """From what the build kept, to the same bytes, without training or measuring."""
    fleet, project = toy_fleet(tmp_path)
    build(fleet, project, stages=ToyStages())
    before, stages = card_of(project).read_bytes(), ToyStages()
    if harm == "lost":
        card_of(project).unlink()
    else:
        card_of(project).write_bytes(
            b"# toy\n" if harm == "of another build" else before + b"\n![x](lost.png)\n"
        )

    result = build(fleet, project, stages=stages)

    assert stages.asked == []
    assert before == card_of(project).read_bytes()
    assert not result.lock_changed


def test_a_card_that_cannot_be_written_again_is_said_to(tmp_path: Path) -> None:
    """A clone without the build folder is told where its card comes from, and nothing is trained for it."""
    fleet, project = toy_fleet(tmp_path)
    build(fleet, project, stages=ToyStages())
    card_of(project).unlink()
    lose_local_state(project)
    stages = ToyStages()

    result = build(fleet, project, stages=stages)

    assert stages.asked == []
    assert result.models[0].note == (
        "toy has no current card, and what was measured is no longer in .fleetctl: "
        "take the card back from git, or run `fleetctl build --force toy`"
    )


def test_check_demands_the_card(tmp_path: Path) -> None:
    """A pull request without its card does not pass."""
    fleet, project = toy_fleet(tmp_path)
    build(fleet, project, stages=ToyStages())
    card_of(project).unlink()

    with pytest.raises(LockStale) as stale:
        check(fleet, project)

    assert stale.value.message == "model_artifacts/toy/card.md is missing or about another build of toy"
    assert stale.value.hint == "run `fleetctl build toy` and commit model_artifacts/toy"


def test_another_budget_is_another_card(tmp_path: Path) -> None:
    """The margins in a card are judged by `min_agreement`: changing it writes the card again."""
    fleet, project = toy_fleet(tmp_path)
    build(fleet, project, stages=ToyStages())

    with pytest.raises(LockStale, match="is missing or about another build"):
        check(remodelled(fleet, smoke=Smoke(samples=6, min_agreement=0.5)), project)


def test_the_card_says_what_was_measured(tmp_path: Path) -> None:
    """Numbers, confusions, drops, digests and weaknesses are those of the build; no path is in it."""
    fleet, project = toy_fleet(tmp_path)
    stages = CardStages(wrong={VariantName.INT8: {"G17": 9}})
    build(fleet, project, stages=stages)
    (subject,) = stages.subjects

    text = "\n".join(
        line
        for section in sections.SECTIONS
        if section is not sections.operations
        for line in section(subject)
    )

    assert "reads **75.0 %** rightly" in text
    assert "| G17 | M17 | 9 | 12 |" in text
    assert "| `int8` | 0 KiB | 75.0 % | +25.0 | G17 +75.0 |" in text
    assert "- Weak signs: G17 (3 of 12)." in text
    assert subject.locked.variants["int8"].artifact.digest in text
    assert str(tmp_path) not in text


class KnowingStages(CardStages):
    """Stages that learn from six of the photos they are measured on, by other names."""

    def load(self, model: Model, *, base: Path, cache: Path, progress: Progress) -> Split:
        split = super().load(model, base=base, cache=cache, progress=progress)
        known = split.evaluation.pick(range(2))  # as every sign has photos of the same greys: six
        return replace(split, train=split.train + replace(known, names=["a copy", "another"]))


def test_photos_learnt_and_evaluated_are_said(tmp_path: Path) -> None:
    """Whoever builds is told at once; the card has it among the weaknesses, and calls nothing kept out."""
    fleet, project = toy_fleet(tmp_path)
    stages = KnowingStages()

    result = build(fleet, project, stages=stages)
    (subject,) = stages.subjects
    parts = (sections.head, sections.data, sections.weaknesses, sections.by_sign)
    text = "\n".join(line for section in parts for line in section(subject))

    (doubt,) = result.models[0].doubts
    assert doubt.startswith("6 of the 36 samples it is measured on are among those it has learnt from")
    assert f"- {doubt}." in text
    assert "Of 36 samples, of which it has learnt 6, the `int8` variant" in text
    assert "kept out" not in text
    assert 6 == record.loads(record.dumps(subject.measured)).data.shared


def test_sound_data_are_kept_as_before(tmp_path: Path) -> None:
    """What is kept of a build whose photos are kept apart does not mention that they are."""
    fleet, project = toy_fleet(tmp_path)
    build(fleet, project, stages=ToyStages())
    (kept,) = project.state.glob(f"build/*/{measurements_file('toy')}")

    assert b'"shared"' not in kept.read_bytes()


class UnsureStages(CardStages):
    """Stages with few photos to evaluate on, and one that another kernel might read otherwise."""

    def load(self, model: Model, **places: Any) -> Split:
        split = super().load(model, **places)
        return replace(split, evaluation=split.evaluation.pick([0, EACH, 2 * EACH, 1]))

    def prove(self, model: Model, *args: Any, **more: Any) -> GoldenSet:
        proof = super().prove(model, *args, **more)
        first, *rest = proof.samples
        return replace(proof, samples=(replace(first, lead=0.1), *rest))


def test_golden_answers_that_prove_little_are_said(tmp_path: Path) -> None:
    """Fewer than were asked for, or such that a healthy board may be refused by them."""
    fleet, project = toy_fleet(tmp_path)
    stages = UnsureStages()

    result = build(fleet, project, stages=stages)
    again = build(fleet, project, stages=stages)
    (subject,) = stages.subjects

    few, close = result.models[0].doubts
    assert few.startswith("`int8`: boards prove a release by 4 golden samples instead of 6")
    assert close.startswith("`int8`: the answer to 1 of 4 golden samples leads by less than 0.25")
    assert {f"- {few}.", f"- {close}."} <= set(sections.weaknesses(subject))
    assert () == again.models[0].doubts


def test_a_detector_has_its_own_section(tmp_path: Path) -> None:
    """Recall, precision and mAP of each variant, and of each sign, worst first."""
    fleet, project = toy_fleet(tmp_path)
    stages = CardStages()
    build(fleet, project, stages=stages)
    (subject,) = stages.subjects
    signs = {
        "G17": {"n": 8, "found": 8, "read": 6, "average_precision": 0.9},
        "N35": {"n": 2, "found": 1, "read": 0, "average_precision": 0.25},
    }
    said = {"n": 10, "found": 9, "wrong": 3, "unjudged": 1, "named": 9, "read": 6, "map50": 0.575}
    detected = record.VariantRecord(11, detection={**said, "per_class": signs})
    measured = replace(subject.measured, variants={"int8": detected})

    lines = sections.detection(replace(subject, measured=measured))

    assert "| `int8` | 10 | 90.0 % | 75.0 % | 3 | 1 | 66.7 % | 57.5 % |" in lines
    assert lines[-2:] == ["| N35 | 2 | 50 % | 0 % | 25.0 % |", "| G17 | 8 | 100 % | 75 % | 90.0 % |"]
    assert record.loads(record.dumps(measured)) == measured
