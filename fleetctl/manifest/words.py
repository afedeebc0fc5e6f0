"""Kinds of value that several parts of the manifest are written with."""

from fleetctl.manifest.kinds import Choice, Text
from fleetctl.manifest.numbers import SECONDS, Number, Quantity
from fleetctl.manifest.schema import BoardKind

VISIBLE = r"[^\x00-\x1f\x7f]"
# A line that a person can read: not of blanks and marks alone that no screen shows.
_SEEN = r"[^\s\u00ad\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\u2800\u3164\ufeff]"
WORDS = rf"(?=.*{_SEEN}){VISIBLE}{{1,200}}"

NAME = Text(
    "name of lower-case letters, digits and hyphens, at most 63",
    r"[a-z0-9][a-z0-9-]{0,62}",
)
GLOB = Text("name or glob such as `luxor-*`", r"[a-z0-9*?\[\]!-]{1,100}")
_MONTHS = (
    r"(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
)
_LEAP = r"2(?:[048]00|[0-9](?:0[48]|[2468][048]|[13579][26]))"
DAY = Text(
    "day such as `2026-12-31`", rf"(?:2[0-9]{{3}}-{_MONTHS}|{_LEAP}-02-29)", "one that the calendar has"
)


def _fraction_hint(value: float) -> str:
    return f"write {value / 100:g}" if 1 < value <= 100 else ""


BOARD_KIND = Choice(
    BoardKind,
    "board kind",
    refused={
        "coral-dev-board-micro": "is a microcontroller without Linux or Python, not for fleetctl to manage; "
        "build the model into its firmware with coralmicro, and leave it out of the fleet",
        "raspberrypizero": "has an ARMv6 processor, which no TFLite runtime is published for; "
        "use a Raspberry Pi Zero 2 and say `raspberrypizero2`",
    },
)
FRACTION = Number(0, 1, hint=_fraction_hint)
DURATION = Quantity("duration", SECONDS, "30s", most=7 * 24 * 3600)
