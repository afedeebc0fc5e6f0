"""The bad releases as whole releases: what each is made of, and what it has to be refused with.

`of_release` harms the files of any good release; what a board's own state makes of a good one (no
accelerator, too slow) is a change of its configuration.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fleetctl.models.bad_releases import BAD_RELEASES
from fleetctl.store import canonical_json

Files = Mapping[str, bytes]
"""A release: path -> bytes."""

SMOKE = "config/smoke.json"
SERVE = "config/serve.json"

_AGREEMENT = r"\d+ of \d+ golden answers agree; at least"
_DRIFT = r"a score is [\d.]+ away from the golden one|" + _AGREEMENT

REFUSED_WITH = {
    # Where it is read beyond its end, what an earlier model left in memory may be found there.
    "truncated model": r"killed by SIG|the model does not load|" + _DRIFT,
    "labels shifted by one": r"0 of \d+ golden answers agree",
    "label list cut short": r"the contract has \d+ labels, the model has \d+ outputs",
    "another model's contract": r"the model's input is .*, the contract says",
    "another variant's contract": r"the model's input is .*, the contract says",
    "weights not a number": r"the model gave a score that is no number",
    "light not evened out": _DRIFT,
    "not smoothed": _DRIFT,
    "input scale not folded in": _DRIFT,
    "picture inverted": _DRIFT,
    "picture mirrored": _DRIFT,
    "picture transposed": _DRIFT,
    "layer zeroed": _DRIFT,
    "channels swapped": _DRIFT,
    "stale quantization": _DRIFT,
    "bits flipped": _DRIFT + r"|the model gave a score that is no number",
    "accelerator missing": r"the accelerator is required",
    "too slow": r"p95 latency [\d.]+ ms is over the budget of",
}
"""What the judge, or the board that refuses to serve, has to say of each."""


@dataclass(frozen=True)
class BadRelease:
    """A kind of bad release, as a change of a good one's files; None where it cannot be made of that one."""

    name: str
    change: Callable[[Files], Files | None]


def of_release(files: Files) -> dict[str, Files]:
    """Every bad release that can be made of a good one, by name."""
    made = {bad.name: bad.change(files) for bad in EVERY_KIND}
    return {name: changed for name, changed in made.items() if changed is not None}


def _in_model_folder(change: Callable[[Files], Files | None]) -> Callable[[Files], Files | None]:
    """A change of an artifact's files, done to the `model/` folder of a release."""

    def changed(files: Files) -> Files | None:
        artifact = {
            path.removeprefix("model/"): data for path, data in files.items() if path.startswith("model/")
        }
        harmed = change(artifact)
        return harmed and {**files, **{f"model/{name}": data for name, data in harmed.items()}}

    return changed


def _with(path: str, **changes: Any) -> Callable[[Files], Files]:
    def changed(files: Files) -> Files:
        return {**files, path: canonical_json({**json.loads(files[path]), **changes})}

    return changed


def _accelerator_missing(files: Files) -> Files:
    return _with(SERVE, accelerator="required")(_with(SMOKE, accelerator="required")(files))


EVERY_KIND = (
    *(BadRelease(bad.name, _in_model_folder(bad.change)) for bad in BAD_RELEASES),
    BadRelease("accelerator missing", _accelerator_missing),
    BadRelease("too slow", _with(SMOKE, max_p95_ms=0.001)),  # no board answers within a microsecond
)
