"""One HTML file about the fleet today, or about a rollout: to send, to keep, to open anywhere."""

import time
from collections.abc import Sequence

from fleetctl.manifest.schema import Fleet
from fleetctl.report.status import healthy_line, status_summary
from fleetctl.report.web.fleet_view import Choice, Row, fleet_view
from fleetctl.report.web.pages import render, static
from fleetctl.status import BoardStatus
from fleetctl.tale import Tale

_MOST = 500  # boards in trouble that are listed one by one


def report_html(fleet: Fleet, statuses: Sequence[BoardStatus] | None, tale: Tale | None, now: float) -> str:
    """The whole file; without `statuses` it is about the rollout alone."""
    from fleetctl import __version__

    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    values: dict[str, object] = {"view": None, "trouble": (), "more": 0, "healthy": "", "summary": ""}
    if statuses is not None:
        view = fleet_view(fleet, statuses, Choice())
        unwell = [status for status in statuses if not status.healthy]
        trouble = _rows(fleet, unwell)
        values = {
            "view": view,
            "trouble": trouble[:_MOST],
            "more": max(0, len(trouble) - _MOST),
            "healthy": healthy_line([s for s in statuses if s.healthy]) if not unwell and statuses else "",
            "summary": status_summary(statuses),
        }
    title = f"Fleet {fleet.name}" if statuses is not None else f"Rollout of {fleet.name}"
    return render(
        "report.html",
        live=False,
        acts=False,
        style=static("style.css"),
        version=__version__,
        fleet_name=fleet.name,
        title=title,
        when=when,
        tale=tale,
        gate=fleet.rollout.gate,
        **values,
    )


def _rows(fleet: Fleet, statuses: Sequence[BoardStatus]) -> list[Row]:
    """Rows of every status, however many: the report has no pages."""
    rows: list[Row] = []
    page = 1
    while True:
        view = fleet_view(fleet, statuses, Choice(page=page))
        rows += view.rows
        if page >= view.pages or len(rows) > _MOST:
            return rows
        page += 1
