"""Patches as boards are sent them, also where they do not pay."""

import bsdiff4

from fleetctl.delta import compressed


def patch(old: bytes, new: bytes) -> bytes:
    """What `device.delta.patched` makes `new` of, given `old`."""
    return compressed(bsdiff4.diff(old, new), len(new))
