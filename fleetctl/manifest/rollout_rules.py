"""`rollout` of the manifest: in which order boards get a release, and when it goes no further."""

from typing import Any

from fleetctl.manifest.compounds import Field, ListOf, MapOf, Record
from fleetctl.manifest.kinds import Choice, Text
from fleetctl.manifest.numbers import SECONDS, Integer, Number, Quantity
from fleetctl.manifest.schema import Danger, Gate, OnInconclusive, RevertPolicy, RolloutPolicy, Signing, Wave
from fleetctl.manifest.words import DURATION, FRACTION, NAME, WORDS

PERCENT = Number(0, 100, above=True, scale=100)
SOAK = Quantity("duration", SECONDS, "60s", most=7 * 24 * 3600, zero=True)
REASON = Text("reason of 1 to 200 characters", WORDS, "say why, so that a reviewer can judge")


def _wave(percent: float | None = None, **values: Any) -> Wave:
    return Wave(fraction=percent, **values)


WAVE = Record(
    "wave",
    (
        Field("group", NAME, "the boards of this group"),
        Field("percent", PERCENT, "boards up to this share of the whole fleet, earlier waves counted"),
        Field("soak", SOAK, "time to watch before the gate decides"),
    ),
    build=_wave,
    defaults=Wave,
    one_of=("group", "percent"),
)
GATE = Record(
    "gate",
    (
        Field("canary_failures", Integer(0, 1_000_000), "boards of the first wave that may fail"),
        Field("success", FRACTION, "least share of a wave that must be verified"),
        Field("inconclusive", Choice(OnInconclusive, "action"), "when boards could not be asked"),
    ),
    build=Gate,
    defaults=Gate,
)
ROLLOUT = Record(
    "rollout",
    (
        Field("waves", ListOf(WAVE), "slices of the fleet in order; absent: one wave of everything"),
        Field("gate", GATE, "when the next wave may open"),
        Field("revert", Choice(RevertPolicy, "revert policy"), "which boards go back when a gate fails"),
        Field(
            "confirm_timeout", DURATION, "a board reverts itself unless the controller confirms in this time"
        ),
        Field("deadline", DURATION, "time a board has from push to proof"),
        Field(
            "signing",
            Choice(Signing, "word about signing"),
            "whether [releases are signed](security.md#signed-releases)",
        ),
        Field(
            "allow",
            MapOf(Choice(Danger, "danger"), REASON),
            "[dangers](gitops.md#dangers) of the very change that writes them here, and why they are meant",
        ),
    ),
    build=RolloutPolicy,
    defaults=RolloutPolicy,
)
