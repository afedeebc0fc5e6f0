"""Texts that several parts of the manifest are written with."""

from fleetctl.manifest.kinds import Text

VISIBLE = r"[^\x00-\x1f\x7f]"

NAME = Text(
    "name of lower-case letters, digits and hyphens, at most 63",
    r"[a-z0-9][a-z0-9-]{0,62}",
)
GLOB = Text("name or glob such as `luxor-*`", r"[a-z0-9*?\[\]!-]{1,100}")
DAY = Text("day such as `2026-12-31`", r"2[0-9]{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])")
