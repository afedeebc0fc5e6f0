"""What bringing a lab up takes and gives, whatever its boards are made of."""

from collections.abc import Callable

from msgspec import Struct

from fleetctl.lab.state import LabState

Say = Callable[[str], None]


class Up(Struct, frozen=True):
    """How `up` went: the lab as it is, what was new, and whether it had been running."""

    state: LabState
    added: tuple[str, ...]
    was_running: bool
