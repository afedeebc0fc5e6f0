"""docs/status.md names every metric with the words of its HELP line."""

import re
from pathlib import Path

from fleetctl.report.prometheus import ASKED, COUNTS, INFO, METRICS

TEXT = (Path(__file__).parents[2] / "docs" / "status.md").read_text("utf-8")


def test_every_metric_is_explained() -> None:
    """The table is what Prometheus is told."""
    told = {metric.name: metric.help for metric in METRICS} | dict([ASKED, COUNTS, INFO])

    assert told == dict(re.findall(r"^\| `(fleetctl_\w+)` \| (.+) \|$", TEXT, re.MULTILINE))
