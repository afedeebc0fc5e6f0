"""Telling a webhook what happens, where the environment names one."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fleetctl.children import WEBHOOK as ADDRESS
from fleetctl.events import Emit, Event
from fleetctl.project import Project

if TYPE_CHECKING:
    from fleetctl.status import BoardStatus
    from fleetctl.webhook import Notifier


@contextmanager
def telling_rollout(project: Project, fleet: str, commit: str, plan: str) -> Iterator[Emit]:
    """Yields what a rollout's events are handed to: nothing comes of it where no webhook is named.

    Raises:
        UsageError: the environment names a webhook that cannot be used.
    """
    notifier = _notifier(project)
    if notifier is None:
        yield lambda _: None
        return
    from fleetctl.notifications import RolloutTeller

    began = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    teller = RolloutTeller(fleet, commit, plan, began)
    with notifier:

        def tell(event: Event) -> None:
            if notification := teller.tell(event):
                notifier.tell(notification)

        yield tell


def tell_of_boards(project: Project, fleet: str, statuses: "Sequence[BoardStatus]") -> None:
    """Tell of boards that fell ill or recovered since somebody was last told.

    Raises:
        UsageError: the environment names no webhook, or one that cannot be used.
    """
    from fleetctl.notifications import ailments, changes

    notifier = demanded(project)
    asked = [status.board for status in statuses]
    before = notifier.ailments
    now = ailments(statuses, before)
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with notifier:
        for notification in changes(fleet, before, now, asked, at):
            notifier.tell(notification)
    others = {board: what for board, what in before.items() if board not in asked}
    notifier.remember(others | now)


def demanded(project: Project) -> "Notifier":
    """The webhook that `--notify` is about.

    Raises:
        UsageError: the environment names none, or one that cannot be used.
    """
    from fleetctl.errors import UsageError

    notifier = _notifier(project)
    if notifier is None:
        raise UsageError(f"--notify needs {ADDRESS} in the environment", hint="see docs/notifications.md")
    return notifier


def _notifier(project: Project) -> "Notifier | None":
    if not os.environ.get(ADDRESS):
        return None  # most fleets' case, in which what speaks HTTP is not imported
    from fleetctl.report.console import talk
    from fleetctl.webhook import Notifier, Webhook

    webhook = Webhook.of(os.environ)
    return Notifier(webhook, project.state / "notified.json", talk.warn) if webhook else None
