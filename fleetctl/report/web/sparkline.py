"""Numbers over time as a small line: SVG without script, its meaning as text for who cannot see it."""

from collections.abc import Sequence

from msgspec import Struct

_WIDTH, _HEIGHT, _PAD = 240.0, 44.0, 4.0


class Sparkline(Struct, frozen=True):
    """`points` is what an SVG polyline takes; `label` says it in words."""

    points: str
    label: str
    low: float
    high: float
    last: float
    width: float = _WIDTH
    height: float = _HEIGHT


def sparkline(values: Sequence[float | None], what: str, unit: str) -> Sparkline | None:
    """A line through the known ones of `values`, oldest first; None where there are fewer than two."""
    known = [(index, value) for index, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return None
    low, high = min(value for _, value in known), max(value for _, value in known)
    if high == low:
        low, high = low - 0.5, high + 0.5  # a flat line runs through the middle
    span = high - low
    step = (_WIDTH - 2 * _PAD) / (len(values) - 1)
    places = [
        (_PAD + index * step, _HEIGHT - _PAD - (value - low) / span * (_HEIGHT - 2 * _PAD))
        for index, value in known
    ]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    values_known = [value for _, value in known]
    least, most, last = min(values_known), max(values_known), values_known[-1]
    label = f"{what}: {len(known)} values from {least:g} to {most:g} {unit}, the last {last:g} {unit}"
    return Sparkline(points, label, least, most, last)
