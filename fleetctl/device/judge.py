"""Decides, from what a board answered, whether it has proved its release.

The board runs it for its own protection, the controller runs it again on the same evidence: only the second
verdict counts. Everything in a receipt is untrusted, so nothing here raises: whatever is missing, malformed
or not a finite number is a failed check.
"""

from __future__ import annotations

import json
import os
import sys
import types
from typing import Any, Dict, List, Sequence

if not __package__:  # a script beside its siblings: their folder is the package (PEP 366)
    __package__ = "fleetctl_device"
    sys.modules[__package__] = types.ModuleType(__package__)
    sys.modules[__package__].__path__ = [os.path.dirname(os.path.realpath(__file__))]
    sys.dont_write_bytecode = True  # a release folder holds what release.json says and nothing else

from .checks import Check, Json, figure, finite, mapping
from .golden_answers import golden_answers

PASSED = "passed"
FAILED = "failed"
INCONCLUSIVE = "inconclusive"

HOT_C = 80.0  # a Raspberry Pi lowers its clock from here on, a Coral board soon after


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
        mapping(contract),
        mapping(smoke),
        mapping(receipt),
        mapping(ordered),
    )
    checks = _identity(receipt, ordered)
    checks.append(_accelerator(smoke, receipt))
    checks.extend(golden_answers(contract, smoke, receipt))
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
    loaded = mapping(receipt.get("loaded"))
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
    wanted, used = smoke.get("accelerator"), mapping(receipt.get("accelerator")).get("used")
    known = wanted in ("none", "preferred", "required")
    passed = known and (used == "edgetpu" if wanted == "required" else used in ("cpu", "edgetpu"))
    return Check(
        "accelerator",
        passed,
        _shown(used),
        _shown(wanted),
        f"the accelerator is {wanted}, {used or 'nothing'} was used",
    )


def _latency(smoke: Json, receipt: Json) -> Check:
    limit = smoke.get("max_p95_ms")
    answers = receipt.get("answers")
    times = [finite(mapping(a).get("elapsed_ms")) for a in answers] if isinstance(answers, list) else []
    known = [time for time in times if time is not None and time >= 0]
    if not known or len(known) != len(times):
        return Check("latency", False, None, finite(limit), "an answer lacks its time")
    measured = p95(known)
    if limit is None:
        return Check("latency", True, measured, None)
    budget = finite(limit)
    passed = budget is not None and measured <= budget
    return Check(
        "latency",
        passed,
        measured,
        budget,
        f"p95 latency {measured:.1f} ms is over the budget of {figure(budget)} ms",
    )


def _excuse(checks: Sequence[Check], smoke: Json, receipt: Json) -> str:
    """Why a failure says nothing about the release; empty when it does."""
    failed = {check.name for check in checks if not check.passed}
    accelerator = mapping(receipt.get("accelerator"))
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
        return _heat(mapping(receipt.get("health")))
    return ""


def _heat(health: Json) -> str:
    temperature = finite(health.get("temperature_c"))
    if temperature is not None and temperature > HOT_C:
        return f"the board is at {temperature:.0f} C"
    return "the board is throttled" if health.get("throttled") is True else ""


def _shown(value: Any) -> Any:
    return value[:100] if isinstance(value, str) else None


def _brief(value: Any) -> str:
    return value[:12] if isinstance(value, str) and value else "nothing"


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
