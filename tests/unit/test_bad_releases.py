"""Bad releases made of a real model are refused, each for its own reason, and healthy boards are not."""

import json
import re
from pathlib import Path
from typing import Any

import bad_releases
import pytest
from long_matrices import first_of
from msgspec.structs import replace
from small_reader import SMALL, SmallReader, train

from fleetctl.artifact import Contract
from fleetctl.device import runtime as board_runtime
from fleetctl.device.reader import Reader
from fleetctl.errors import BuildError
from fleetctl.manifest.schema import VariantName
from fleetctl.models import evaluate, margins, trial
from fleetctl.models.bad_releases import BAD_RELEASES
from fleetctl.models.margins import SERVED, GoldenSet, margin
from fleetctl.smoke import Ordered, Outcome, judge

NOISE = json.loads((Path(__file__).parents[1] / "cases" / "golden" / "kernel_noise.json").read_text())
ORDERED = Ordered("luxor-01", "1" * 64, "2" * 64)
BUDGET = {"min_agreement": 0.98, "max_p95_ms": None, "accelerator": "none"}

# TensorFlow 2.15 and its Keras use what later Pythons and libraries deprecate.
pytestmark = [
    pytest.mark.xdist_group("models that misbehave"),  # which one worker trains, not each
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:keras"),
]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallReader:
    return train(tmp_path_factory.mktemp("small"), VariantName.FLOAT32, VariantName.INT8)


@pytest.fixture(scope="module")
def chosen(small: SmallReader) -> dict[VariantName, tuple[Contract, GoldenSet]]:
    """The golden set of each variant, and the contract that goes with it."""
    found = {}
    for name, variant in small.variants.items():
        golden_set = margins.choose(
            variant.contract, variant.tflite, small.samples, small.scored(name), count=16, seed=0
        )
        rows = [sample.index for sample in golden_set.samples]
        answers = tuple(evaluate.answers(variant.scores[rows], variant.contract.labels))
        found[name] = (
            replace(variant.contract, golden=answers, score_tolerance=golden_set.tolerance),
            golden_set,
        )
    return found


def receipt(answers: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    loaded = {"release": ORDERED.release, "model_sha256": ORDERED.model_sha256}
    evidence = {
        "board": ORDERED.board, "release": ORDERED.release, "loaded": loaded if answers else None,
        "accelerator": {"used": "cpu"}, "answers": answers,
    }  # fmt: skip
    return {**evidence, **changes}


@pytest.mark.parametrize("variant", first_of([VariantName.INT8, VariantName.FLOAT32]))
def test_every_bad_release_is_refused_for_its_own_reason(
    chosen: dict[VariantName, tuple[Contract, GoldenSet]], variant: VariantName
) -> None:
    """Whatever can be made of a model is stopped, and the message says what is wrong with it."""
    contract, golden_set = chosen[variant]
    tried = [one for one in golden_set.trials if not one.good]
    cannot_be_made = {VariantName.FLOAT32: "stale quantization", VariantName.INT8: "weights not a number"}

    judged = {one.name: margin(one, contract.to_mapping(), 0.98) for one in tried}

    assert {bad.name for bad in BAD_RELEASES} - set(judged) == {cannot_be_made[variant]}
    for name, said in judged.items():
        assert not said.passed, name
        assert re.search(bad_releases.REFUSED_WITH[name], said.reason), (name, said.reason)


@pytest.mark.parametrize("variant", [VariantName.FLOAT32, VariantName.INT8])
def test_the_controller_refuses_what_the_build_refused(
    chosen: dict[VariantName, tuple[Contract, GoldenSet]], variant: VariantName
) -> None:
    """The controller's own verdict on the same answers is the same, for good releases and bad ones."""
    contract, golden_set = chosen[variant]

    for tried in golden_set.trials:
        said = judge(contract.to_json(), BUDGET, receipt(tried.said.answers), ORDERED)

        assert said.outcome is (Outcome.PASSED if tried.good else Outcome.FAILED), tried.name


@pytest.mark.parametrize("variant", [VariantName.FLOAT32, VariantName.INT8])
def test_healthy_kernels_are_well_inside_the_budget(
    chosen: dict[VariantName, tuple[Contract, GoldenSet]], variant: VariantName
) -> None:
    """No kernel of this host uses up more than half of the score tolerance, and none changes a label."""
    contract, golden_set = chosen[variant]
    healthy = [margin(one, contract.to_mapping(), 0.98) for one in golden_set.trials if one.good]

    assert [one.trial.name for one in healthy][-1] == SERVED
    assert len(healthy) == 4
    for said in healthy:
        assert (said.passed, said.flipped) == (True, 0), said.trial.name
        assert said.apart <= 0.5, said.trial.name


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_threads_are_no_reason_to_refuse(
    small: SmallReader, chosen: dict[VariantName, tuple[Contract, GoldenSet]], threads: int
) -> None:
    """A board may use as many threads as it likes."""
    contract, golden_set = chosen[VariantName.INT8]
    engine = board_runtime.load(small.variants[VariantName.INT8].tflite, "none", threads)
    reader = Reader(contract.to_mapping(), engine, 0.0)
    told = [reader.read(small.samples.images[sample.index]) for sample in golden_set.samples]
    answers = [{**one["top"][0], "elapsed_ms": one["elapsed_ms"]} for one in told]

    assert judge(contract.to_json(), BUDGET, receipt(answers), ORDERED).passed


@pytest.mark.parametrize("kernels", ["arm64", "x86-64 with XNNPACK"])
def test_recorded_noise_of_other_boards_is_tolerated(
    chosen: dict[VariantName, tuple[Contract, GoldenSet]], kernels: str
) -> None:
    """Every movement of a score that was measured on an arm64 board, or under XNNPACK, passes."""
    contract, _ = chosen[VariantName.INT8]

    for steps in NOISE[kernels]["steps"]:
        moved = [
            {"label": want.label, "score": want.score + int(steps) / 256, "elapsed_ms": 1.0}
            for want in contract.golden
        ]  # type: ignore[union-attr]
        assert judge(contract.to_json(), BUDGET, receipt(moved), ORDERED).passed, steps
    assert NOISE[kernels]["smallest_lead"] > 0.05


def test_one_wrong_label_is_enough(chosen: dict[VariantName, tuple[Contract, GoldenSet]]) -> None:
    """Noise changes no golden label, so that a share of 98 % of 16 leaves no room for a wrong one."""
    contract, golden_set = chosen[VariantName.INT8]
    served = next(one for one in golden_set.trials if one.name == SERVED)
    answers = [dict(answer) for answer in served.said.answers]
    answers[0]["label"] = "Z1"

    said = judge(contract.to_json(), BUDGET, receipt(answers), ORDERED)

    assert said.reasons == ("15 of 16 golden answers agree; at least 98% have to",)


def test_a_slow_board_is_refused(chosen: dict[VariantName, tuple[Contract, GoldenSet]]) -> None:
    """Right answers that come too late are no proof."""
    contract, golden_set = chosen[VariantName.INT8]
    served = next(one for one in golden_set.trials if one.name == SERVED)
    slowest = min(answer["elapsed_ms"] for answer in served.said.answers)

    said = judge(
        contract.to_json(), {**BUDGET, "max_p95_ms": slowest / 2}, receipt(served.said.answers), ORDERED
    )

    assert re.search(bad_releases.REFUSED_WITH["too slow"], said.reasons[0])


def test_a_required_accelerator_is_never_replaced(
    small: SmallReader, chosen: dict[VariantName, tuple[Contract, GoldenSet]]
) -> None:
    """The service refuses to start, and a board that answered from its CPU all the same is refused."""
    contract, golden_set = chosen[VariantName.INT8]
    served = next(one for one in golden_set.trials if one.name == SERVED)
    budget = {**BUDGET, "accelerator": "required"}

    with pytest.raises(board_runtime.RuntimeRefused, match="the Edge TPU is required"):
        board_runtime.load(small.variants[VariantName.INT8].tflite, "required", 1)
    said = judge(
        contract.to_json(),
        budget,
        receipt(served.said.answers, accelerator={"used": "cpu", "present": True}),
        ORDERED,
    )

    assert said.outcome is Outcome.FAILED
    assert re.search(bad_releases.REFUSED_WITH["accelerator missing"], said.reasons[0])


def test_every_kind_has_its_reason() -> None:
    """No bad release is tried without saying what it has to be refused with."""
    assert {bad.name for bad in bad_releases.EVERY_KIND} == set(bad_releases.REFUSED_WITH)


def test_a_model_that_kills_its_process_is_survived(small: SmallReader) -> None:
    """The trials after one that takes its process down are still made.

    The first is of another variant: half a model, put where the whole one just was, may find its rest.
    """
    first, good = (
        margins.artifact_files(variant.contract, variant.tflite, small.samples.pick(range(2)), [])
        for variant in (small.variants[VariantName.FLOAT32], small.variants[VariantName.INT8])
    )
    bad = next(bad for bad in BAD_RELEASES if bad.name == "truncated model").change(good)
    assert bad is not None

    said = trial.run([first, bad, good])

    assert [len(one.answers) for one in said] == [2, 0, 2]
    assert re.search(bad_releases.REFUSED_WITH["truncated model"], said[1].refusal)


def test_nothing_to_try_with_is_an_error(small: SmallReader) -> None:
    """A model that does not even load is a failed build, not a golden set."""
    variant = small.variants[VariantName.INT8]

    with pytest.raises(BuildError, match="the model cannot be run"):
        margins.choose(
            variant.contract,
            b"no model",
            small.samples,
            small.scored(VariantName.INT8),
            count=SMALL.smoke.samples,
            seed=0,
        )
