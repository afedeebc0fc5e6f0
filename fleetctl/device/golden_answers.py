"""Holds a board's answers against the golden ones: signs and scores of a classifier, scenes of a detector."""

from __future__ import annotations

import math
from typing import Any, List, Sequence

from . import scenes
from .checks import Check, Json, figure, finite, mapping, percent


def golden_answers(contract: Json, smoke: Json, receipt: Json) -> List[Check]:
    """Whether all golden samples were answered, properly, and as on the build host."""
    golden, answers = contract.get("golden"), receipt.get("answers")
    golden = golden if isinstance(golden, list) else []
    answers = answers if isinstance(answers, list) else []
    counted = bool(golden) and len(answers) == len(golden)
    count = Check(
        "answers",
        counted,
        len(answers),
        len(golden),
        f"{len(answers)} of {len(golden)} golden samples were answered",
    )
    if not counted:
        return [count]
    if contract.get("task") == "detection":
        return [count, *_scenes(contract, smoke, golden, [mapping(answer) for answer in answers])]
    pairs = [(mapping(want), mapping(answers[place])) for place, want in enumerate(golden)]
    return [count, _well_formed(pairs), _agreement(smoke, pairs), _scores(contract, pairs)]


def _scenes(contract: Json, smoke: Json, golden: Sequence[Any], answers: Sequence[Json]) -> List[Check]:
    """A golden sample of a detector agrees when its whole scene does, labels, boxes and scores."""
    terms = scenes.terms_of(contract)
    most = terms.most if terms else 0
    wanted = [scenes.read(scene, most) for scene in golden]
    found = [scenes.read(answer.get("detections"), most) for answer in answers]
    broken = [number for number, scene in enumerate(found, 1) if scene is None]
    reason = f"answer {broken[0]} is no list of labels, finite scores and boxes" if broken else ""
    differences = [_scene_difference(want, found[place], terms) for place, want in enumerate(wanted)]
    sure = sum(len(scenes.sure(scene, terms)) for scene in wanted if scene) if terms else 0
    return [
        Check("answers well-formed", not broken, len(broken), 0, reason),
        Check("golden", sure > 0, sure, 1, "no golden detection is sure enough to prove anything"),
        _scene_agreement(smoke, differences),
    ]


def _scene_difference(want: Any, got: Any, terms: Any) -> str:
    if terms is None or want is None:
        return "nothing is known to hold it against"
    return "there is no answer" if got is None else scenes.difference(want, got, terms)


def _scene_agreement(smoke: Json, differences: Sequence[str]) -> Check:
    differing = [f"in sample {number} {said}" for number, said in enumerate(differences, 1) if said]
    check = _share(smoke, len(differences) - len(differing), len(differences))
    check.reason += f": {differing[0]}" if differing else ""
    return check


def _well_formed(pairs: Sequence[Any]) -> Check:
    broken = [
        (number, got)
        for number, (_, got) in enumerate(pairs, 1)
        if not isinstance(got.get("label"), str) or finite(got.get("score")) is None
    ]
    reason = _why_broken(*broken[0]) if broken else ""
    return Check("answers well-formed", not broken, len(broken), 0, reason)


def _why_broken(number: int, got: Json) -> str:
    """What the service said instead of an answer, if it said anything."""
    said = got.get("error")
    if not isinstance(said, str) or not said.strip():
        return f"answer {number} lacks a label or a finite score"
    return f"answer {number} could not be had: " + "".join(c if c.isprintable() else " " for c in said[:200])


def _agreement(smoke: Json, pairs: Sequence[Any]) -> Check:
    return _share(smoke, sum(1 for want, got in pairs if _agrees(want, got)), len(pairs))


def _share(smoke: Json, agreeing: int, asked: int) -> Check:
    share = agreeing / asked
    limit = finite(smoke.get("min_agreement"))
    passed = limit is not None and share >= limit - 1e-9
    reason = f"{agreeing} of {asked} golden answers agree; at least {percent(limit)} have to"
    return Check("agreement", passed, share, limit, reason)


def _scores(contract: Json, pairs: Sequence[Any]) -> Check:
    """How far any agreeing answer's score lies from the golden one; disagreement is counted elsewhere."""
    limit = finite(contract.get("score_tolerance"))
    worst = 0.0
    for want, got in pairs:
        expected, score = finite(want.get("score")), finite(got.get("score"))
        if expected is None or (score is None and _agrees(want, got)):
            worst = math.inf
        elif score is not None and _agrees(want, got):
            worst = max(worst, abs(score - expected))
    passed = limit is not None and worst <= limit + 1e-9
    measured = worst if math.isfinite(worst) else None
    reason = f"a score is {figure(measured)} away from the golden one; {figure(limit)} is tolerated"
    return Check("scores", passed, measured, limit, reason)


def _agrees(want: Json, got: Json) -> bool:
    return isinstance(want.get("label"), str) and got.get("label") == want.get("label")
