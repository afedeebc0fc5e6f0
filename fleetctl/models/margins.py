"""The proof that golden samples prove something: healthy kernels pass, bad releases do not, and by how much.

The judge is the one that boards and the controller run. Everything it is given here is measured: the answers
of this host's kernels, and those of bad releases made from the model at hand.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from fleetctl.artifact import CONTRACT_FILE, GOLDEN_FILE, MODEL_FILE, Contract, GoldenAnswer
from fleetctl.device import judge
from fleetctl.errors import BuildError
from fleetctl.manifest.schema import VariantName
from fleetctl.models import evaluate, golden, kernels, trial
from fleetctl.models.bad_releases import BAD_RELEASES, Files
from fleetctl.models.golden import Candidate, Effect, Kind
from fleetctl.models.npy import npy
from fleetctl.models.progress import Progress, silent
from fleetctl.models.samples import Samples
from fleetctl.models.trial import Said

SERVED = "served on this host"


class GoldenSample(Struct, frozen=True):
    """One golden sample: its index among the samples chosen from, why it is golden, and how safe it is.

    `rival` is the label that comes second, `lead` how far the best score lies before it; `score_noise` and
    `lead_noise` say how far any kernel of the build host moved the score, and shrank the lead.
    """

    index: int
    kind: Kind
    rival: str
    lead: float
    score_noise: float
    lead_noise: float


class Trial(Struct, frozen=True):
    """What a good or a bad release answered to the golden samples."""

    name: str
    good: bool
    said: Said


class GoldenSet(Struct, frozen=True):
    """The golden samples of one variant, the score tolerance they allow, and what they were tried on."""

    samples: tuple[GoldenSample, ...]
    tolerance: float
    trials: tuple[Trial, ...]


class Margin(Struct, frozen=True):
    """How one trial was judged. `flipped` of `asked` labels differ; `apart` is the largest difference of an
    agreeing score, as a multiple of the tolerance, 0 where none agrees. `reason` is the judge's first, empty
    where it passed.
    """

    trial: Trial
    passed: bool
    flipped: int
    asked: int
    apart: float
    reason: str


def choose(
    contract: Contract,
    model: bytes,
    samples: Samples,
    scored: Sequence[NDArray[np.float32]],
    *,
    count: int,
    seed: int,
    progress: Progress = silent,
) -> GoldenSet:
    """Choose golden samples for a model, and try them.

    Args:
        contract: of the model; its golden answers and tolerance do not matter.
        model: TFLite bytes that this host can run.
        samples: labelled, of one size.
        scored: scores (samples, labels) of each model that has to agree, this one last.
        progress: hears `compare kernels` and `try bad releases`.

    Raises:
        BuildError: the model cannot be run, or does not answer as it was measured.
    """
    variant = VariantName(contract.variant)
    pool = golden.candidates(samples, contract.labels, scored, count=count, seed=seed)
    photos = samples.pick(candidate.index for candidate in pool)
    own = scored[-1][[candidate.index for candidate in pool]]
    files = artifact_files(contract, model, photos, evaluate.answers(own, contract.labels))
    by_kernel = kernels.scores_by_kernel(
        model, contract.preprocess, contract.input, contract.output, photos.images, progress=progress
    )
    tried = _tried(files, progress)
    noise = kernels.noise(own, by_kernel)
    effects = [_effect(own, contract.labels, one.said) for one in tried if not one.good]
    floor = golden.tolerance_floor(variant)
    chosen = golden.pick(pool, noise, [e for e in effects if e is not None], count=count, floor=floor)
    trials = [_healthy(name, scores, contract.labels) for name, scores in by_kernel.items()] + tried
    leads = kernels.lead(own, own.argmax(axis=1))
    rivals = [contract.labels[int(k)] for k in np.argsort(own, axis=1, kind="stable")[:, -2]]
    return GoldenSet(
        tuple(_golden_sample(pool[k], rivals[k], leads[k], noise.score[k], noise.gap[k]) for k in chosen),
        golden.tolerance(variant, noise.score[chosen]),
        tuple(replace(one, said=_picked(one.said, chosen)) for one in trials),
    )


def margin(tried: Trial, contract: Mapping[str, Any], min_agreement: float) -> Margin:
    """Judge a trial by `contract.json` and the share of golden answers that has to agree."""
    answers = tried.said.answers
    receipt = {
        **_ORDERED,
        "loaded": _ORDERED if answers else None,
        "accelerator": {"used": "cpu"},
        "answers": answers,
    }
    smoke = {"min_agreement": min_agreement, "max_p95_ms": None, "accelerator": "none"}
    said = judge.judge(contract, smoke, receipt, _ORDERED)
    pairs = list(zip(contract["golden"], answers, strict=False))
    apart = [abs(got["score"] - want["score"]) for want, got in pairs if got.get("label") == want["label"]]
    return Margin(
        tried,
        said["outcome"] == judge.PASSED,
        sum(got.get("label") != want["label"] for want, got in pairs),
        len(pairs),
        max(apart, default=0.0) / contract["score_tolerance"],
        tried.said.refusal or (_first_error(answers) or said["reasons"][0] if said["reasons"] else ""),
    )


# Identity is not what is tried here: the receipt is about what was ordered.
_ORDERED = {"board": "trial", "release": "trial", "model_sha256": "trial"}


def _first_error(answers: Sequence[Mapping[str, Any]]) -> str:
    return next((str(answer["error"]) for answer in answers if "error" in answer), "")


def artifact_files(
    contract: Contract, model: bytes, photos: Samples, answers: Sequence[GoldenAnswer]
) -> Files:
    """The files of an artifact with these golden samples and answers."""
    return {
        MODEL_FILE: model,
        CONTRACT_FILE: replace(contract, golden=tuple(answers)).to_json(),
        GOLDEN_FILE: npy(np.stack(photos.images)),
    }


def _tried(files: Files, progress: Progress) -> list[Trial]:
    """The model as it is, then each bad release that can be made of it."""
    made = [(bad.name, changed) for bad in BAD_RELEASES if (changed := bad.change(files)) is not None]
    said = trial.run([files, *(changed for _, changed in made)], progress=progress)
    if said[0].refusal:
        raise BuildError(f"the built model does not answer on this host: {said[0].refusal}")
    named = zip(made, said[1:], strict=True)
    return [Trial(SERVED, True, said[0]), *(Trial(name, False, one) for (name, _), one in named)]


def _healthy(name: str, scores: NDArray[np.float32], labels: Sequence[str]) -> Trial:
    answers = evaluate.answers(scores, labels)
    return Trial(
        f"kernels: {name}",
        True,
        Said([{"label": a.label, "score": a.score, "elapsed_ms": 0.0} for a in answers]),
    )


def _effect(own: NDArray[np.float32], labels: Sequence[str], said: Said) -> Effect | None:
    """What a bad release did to each candidate; None where it answered none at all."""
    if len(said.answers) != len(own) or any("error" in answer for answer in said.answers):
        return None
    flipped = np.array(
        [a["label"] != labels[k] for a, k in zip(said.answers, own.argmax(axis=1), strict=True)]
    )
    apart = np.abs(np.array([a["score"] for a in said.answers], np.float32) - own.max(axis=1))
    return Effect(flipped, np.where(flipped, np.float32(0), apart))


def _picked(said: Said, chosen: Sequence[int]) -> Said:
    return replace(said, answers=[said.answers[place] for place in chosen]) if said.answers else said


def _golden_sample(candidate: Candidate, rival: str, *figures: Any) -> GoldenSample:
    rounded = (round(float(figure), 6) for figure in figures)
    return GoldenSample(candidate.index, candidate.kind, rival, *rounded)
