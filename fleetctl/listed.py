"""A few of many names, for sentences that do not grow with the fleet."""

from collections.abc import Sequence


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first names, and how many more there are: `luxor-01, luxor-02 and 1,041 more`."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
