"""What every Ansible worker needs, made once in the process that workers are forked from.

A worker lives for one board. Whatever it would import or work out for itself is paid for once a board.
"""

import gc
from collections.abc import Sequence

from fleetctl.transports import board_script
from fleetctl.transports.base import Order
from fleetctl.transports.dialogue import foresee
from fleetctl.transports.wire import deflated


def preload(orders: Sequence[Order]) -> None:
    """Load the plugins of our one task, and put together what boards are sent."""
    from ansible.plugins.loader import action_loader, become_loader, connection_loader, shell_loader

    for loader, name in (
        (connection_loader, "ssh"),
        (shell_loader, "sh"),
        (become_loader, "sudo"),
        (action_loader, "fleetctl_release"),
    ):
        loader.get(name, class_only=True)
    deflated(board_script.whole("activate"))
    board_script.by_digest("/")
    foresee(orders)
    # A collection in a worker would touch, and so copy, all that it shares with the others.
    gc.collect()
    gc.freeze()
