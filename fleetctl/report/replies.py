"""Boards that did not answer, put into words."""

from fleetctl.report.console import talk
from fleetctl.transports.base import Reply


def complain(reply: Reply) -> None:
    """Say which board did not answer as it should, why, and what to try."""
    talk.fail(f"{reply.board}: {reply.error or reply.status.value}")
    if reply.hint:
        talk.note(f"hint: {reply.hint}")
