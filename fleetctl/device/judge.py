"""Decides, from what a board answered, whether it has proved its release.

The board runs it for its own protection, the controller runs it again on the same evidence: only the second
verdict counts. Everything in a receipt is untrusted, so nothing here raises: whatever is missing, malformed
or not a finite number is a failed check.
"""

from __future__ import annotations

import json
import math
import os
import sys
import types
from typing import Any, Dict, List, Mapping, Optional, Sequence

if not __package__:  # a script beside its siblings: their folder is the package (PEP 366)
    __package__ = "fleetctl_device"
    sys.modules[__package__] = types.ModuleType(__package__)
    sys.modules[__package__].__path__ = [os.path.dirname(os.path.realpath(__file__))]
    sys.dont_write_bytecode = True  # a release folder holds what release.json says and nothing else

from . import scenes
from .scenes import finite as _number

PASSED = "passed"
FAILED = "failed"
INCONCLUSIVE = "inconclusive"

HOT_C = 80.0  # a Raspberry Pi lowers its clock from here on, a Coral board soon after

Json = Mapping[str, Any]


class Check:
    """One thing that was measured, and the limit it was held against."""

    def __init__(self, name: str, passed: bool, measured: Any, limit: Any, reason: str = "") -> None:
        self.name = name
        self.passed = passed
        self.measured = measured
        self.limit = limit
        self.reason = reason  # one clause, said when the check failed

    def to_json(self) -> Dict[str, Any]:
        return {"name": self.name, "passed": self.passed, "measured": self.measured, "limit": self.limit}


def judge(contract: Json, smoke: Json, receipt: Json, ordered: Json) -> Dict[str, Any]:
    """Hold a receipt against what was ordered.

    Args:
        contract: `model/contract.json`: golden answers and the score tolerance; a detector's golden answers
            are lists of detections, compared as `scenes` says.
        smoke: `config/smoke.json`: `min_agreement`, `max_p95_ms` (or null), `accelerator`.
        receipt: what the board reported; any JSON value at all.
        ordered: `{"board", "release", "model_sha256"}`: what the board was told to run.

    Returns:
        `{"outcome": "passed" | "failed" | "inconclusive", "reasons": [str], "checks": [{"name", "passed",
        "measured", "limit"}]}`. Inconclusive means that the board could not be asked fairly: no accelerator
        to ask, or too slow while hot or throttled. It is never a pass.
    """
    contract, smoke, receipt, ordered = (
        _mapping(contract),
        _mapping(smoke),
        _mapping(receipt),
        _mapping(ordered),
    )
    checks = _identity(receipt, ordered)
    checks.append(_accelerator(smoke, receipt))
    checks.extend(_answers(contract, smoke, receipt))
    checks.append(_latency(smoke, receipt))
    excuse = _excuse(checks, smoke, receipt)
    reasons = [check.reason for check in checks if not check.passed]
    return {
        "outcome": PASSED if not reasons else INCONCLUSIVE if excuse else FAILED,
        "reasons": ([excuse] if excuse else []) + reasons,
        "checks": [check.to_json() for check in checks],
    }


def p95(values: Sequence[float]) -> float:
    """The 95th percentile of at least one number."""
    return quantile(values, 0.95)


def quantile(values: Sequence[float], q: float) -> float:
    """Quantile `q` in [0, 1] of at least one number, linear between ranks (as numpy's default)."""
    ranked = sorted(values)
    place = q * (len(ranked) - 1)
    below = int(place)
    above = min(below + 1, len(ranked) - 1)
    return ranked[below] + (ranked[above] - ranked[below]) * (place - below)


def _identity(receipt: Json, ordered: Json) -> List[Check]:
    loaded = _mapping(receipt.get("loaded"))
    return [
        _same("board", "the receipt is from board", receipt.get("board"), ordered.get("board")),
        _same("release", "the receipt is about release", receipt.get("release"), ordered.get("release")),
        _same("loaded", "the serving process runs release", loaded.get("release"), ordered.get("release")),
        _same(
            "model",
            "the serving process loaded model",
            loaded.get("model_sha256"),
            ordered.get("model_sha256"),
        ),
    ]


def _same(name: str, subject: str, measured: Any, wanted: Any) -> Check:
    same = isinstance(wanted, str) and bool(wanted) and measured == wanted
    return Check(
        name, same, _shown(measured), _shown(wanted), f"{subject} {_brief(measured)}, not {_brief(wanted)}"
    )


def _accelerator(smoke: Json, receipt: Json) -> Check:
    wanted, used = smoke.get("accelerator"), _mapping(receipt.get("accelerator")).get("used")
    known = wanted in ("none", "preferred", "required")
    passed = known and (used == "edgetpu" if wanted == "required" else used in ("cpu", "edgetpu"))
    return Check(
        "accelerator",
        passed,
        _shown(used),
        _shown(wanted),
        f"the accelerator is {wanted}, {used or 'nothing'} was used",
    )


def _answers(contract: Json, smoke: Json, receipt: Json) -> List[Check]:
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
        return [count, *_scenes(contract, smoke, golden, [_mapping(answer) for answer in answers])]
    pairs = [(_mapping(want), _mapping(answers[place])) for place, want in enumerate(golden)]
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
        number
        for number, (_, got) in enumerate(pairs, 1)
        if not isinstance(got.get("label"), str) or _number(got.get("score")) is None
    ]
    reason = f"answer {broken[0]} lacks a label or a finite score" if broken else ""
    return Check("answers well-formed", not broken, len(broken), 0, reason)


def _agreement(smoke: Json, pairs: Sequence[Any]) -> Check:
    return _share(smoke, sum(1 for want, got in pairs if _agrees(want, got)), len(pairs))


def _share(smoke: Json, agreeing: int, asked: int) -> Check:
    share = agreeing / asked
    limit = _number(smoke.get("min_agreement"))
    passed = limit is not None and share >= limit - 1e-9
    reason = f"{agreeing} of {asked} golden answers agree; at least {_percent(limit)} have to"
    return Check("agreement", passed, share, limit, reason)


def _scores(contract: Json, pairs: Sequence[Any]) -> Check:
    """How far any agreeing answer's score lies from the golden one; disagreement is counted elsewhere."""
    limit = _number(contract.get("score_tolerance"))
    worst = 0.0
    for want, got in pairs:
        expected, score = _number(want.get("score")), _number(got.get("score"))
        if expected is None or (score is None and _agrees(want, got)):
            worst = math.inf
        elif score is not None and _agrees(want, got):
            worst = max(worst, abs(score - expected))
    passed = limit is not None and worst <= limit + 1e-9
    measured = worst if math.isfinite(worst) else None
    reason = f"a score is {_figure(measured)} away from the golden one; {_figure(limit)} is tolerated"
    return Check("scores", passed, measured, limit, reason)


def _latency(smoke: Json, receipt: Json) -> Check:
    limit = smoke.get("max_p95_ms")
    answers = receipt.get("answers")
    times = [_number(_mapping(a).get("elapsed_ms")) for a in answers] if isinstance(answers, list) else []
    known = [time for time in times if time is not None and time >= 0]
    if not known or len(known) != len(times):
        return Check("latency", False, None, _number(limit), "an answer lacks its time")
    measured = p95(known)
    if limit is None:
        return Check("latency", True, measured, None)
    budget = _number(limit)
    passed = budget is not None and measured <= budget
    return Check(
        "latency",
        passed,
        measured,
        budget,
        f"p95 latency {measured:.1f} ms is over the budget of {_figure(budget)} ms",
    )


def _excuse(checks: Sequence[Check], smoke: Json, receipt: Json) -> str:
    """Why a failure says nothing about the release; empty when it does."""
    failed = {check.name for check in checks if not check.passed}
    accelerator = _mapping(receipt.get("accelerator"))
    # Without its accelerator the service refuses to start: then nothing was loaded and nothing answered.
    unanswered = {"accelerator", "loaded", "model", "answers", "latency"}
    if (
        "accelerator" in failed
        and accelerator.get("present") is False
        and smoke.get("accelerator") == "required"
    ):
        silent = not receipt.get("answers") and not receipt.get("loaded")
        if failed <= (unanswered if silent else {"accelerator", "latency"}):
            return "no accelerator to ask"
    if failed == {"latency"} and receipt.get("answers"):
        return _heat(_mapping(receipt.get("health")))
    return ""


def _heat(health: Json) -> str:
    temperature = _number(health.get("temperature_c"))
    if temperature is not None and temperature > HOT_C:
        return f"the board is at {temperature:.0f} C"
    return "the board is throttled" if health.get("throttled") is True else ""


def _agrees(want: Json, got: Json) -> bool:
    return isinstance(want.get("label"), str) and got.get("label") == want.get("label")


def _mapping(value: Any) -> Json:
    return value if isinstance(value, Mapping) else {}


def _shown(value: Any) -> Any:
    return value[:100] if isinstance(value, str) else None


def _brief(value: Any) -> str:
    return value[:12] if isinstance(value, str) and value else "nothing"


def _percent(value: Optional[float]) -> str:
    return "an unknown share" if value is None else f"{value:.0%}"


def _figure(value: Optional[float]) -> str:
    return "unknown" if value is None else f"{value:.3g}"


def main() -> int:
    """Judge `{"contract", "smoke", "receipt", "ordered"}` from standard input; print JSON."""
    asked = json.load(sys.stdin)
    print(
        json.dumps(
            judge(asked.get("contract"), asked.get("smoke"), asked.get("receipt"), asked.get("ordered"))
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
