"""`drift` of the manifest: which differences between git and boards are known and left alone."""

from fleetctl.manifest.compounds import Field, ListOf, Record
from fleetctl.manifest.kinds import Choice, Text
from fleetctl.manifest.schema import DriftKind, DriftPolicy, DriftRule
from fleetctl.manifest.words import DAY, GLOB, VISIBLE, WORDS

DRIFT_RULE = Record(
    "drift rule",
    (
        Field("reason", Text("reason", WORDS), "why it is left aside", required=True),
        Field("boards", ListOf(GLOB, unique=True), "names or globs; absent: every board"),
        Field("kind", Choice(DriftKind, "kind of drift"), "what sort of difference; absent: any"),
        Field(
            "what",
            Text("path, config name or glob", rf"{VISIBLE}{{1,200}}"),
            "which file of the release, or which config value; absent: any",
        ),
        Field("until", DAY, "the last day it holds; absent: for good"),
    ),
    build=DriftRule,
    defaults=DriftRule,
)
DRIFT = Record(
    "drift",
    (Field("ignore", ListOf(DRIFT_RULE), "differences that `fleetctl drift` leaves aside"),),
    build=DriftPolicy,
    defaults=DriftPolicy,
)
