"""The variants of a model in one picture: what they read, what they weigh, how long they take."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from fleetctl.errors import BuildError
from fleetctl.models.compare import Compared
from fleetctl.models.drawing import drawing, png

_INCHES = (10, 5)
_DPI = 120  # 1200 pixels wide
_COLOURS = {
    "float32": "#4c72b0",
    "dynamic": "#55a868",
    "float16": "#8172b3",
    "int8": "#c44e52",
    "int8-qat": "#dd8452",
}


def comparison_png(compared: Sequence[Compared]) -> bytes:
    """Accuracy over size on the left, time for a photo on the right; variants that were not run are left out.

    The accuracy axis spans what was measured, not 0 to 100 %: variants lie within a few points.

    Raises:
        BuildError: none was run.
        ToolchainMissing: matplotlib is not installed.
    """
    shown = [one for one in compared if one.evaluation and one.latency]
    if not shown:
        raise BuildError(
            "there is nothing to draw: no variant runs on this machine",
            hint="build int8 too, or leave --plot out",
        )
    with drawing() as matplotlib:
        figure = matplotlib.figure.Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        _accuracy_over_size(left, shown)
        _latencies(right, shown)
        return png(figure)


def _accuracy_over_size(axes: Any, shown: Sequence[Compared]) -> None:
    accuracies = [100 * one.evaluation.top1 for one in shown if one.evaluation]
    sizes = [one.size / 1024 for one in shown]
    # Names stand in one column behind the dots, apart from each other where the dots are not.
    # Of equal ones the largest file comes lowest, so that no line crosses another's.
    order = sorted(range(len(shown)), key=lambda i: (accuracies[i], -sizes[i]))
    heights = _apart(accuracies, order, least=max(0.1, (max(accuracies) - min(accuracies)) * 0.14))
    for one, size, accuracy, height in zip(shown, sizes, accuracies, heights, strict=True):
        colour = _COLOURS.get(one.variant, "#555555")
        axes.plot(size, accuracy, "o", color=colour, markersize=9)
        axes.annotate(
            f"{one.variant}  {accuracy:.1f} %",
            (size, accuracy),
            xytext=(max(sizes) * 1.1, height),
            va="center",
            fontsize=10,
            color=colour,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.7,
                "alpha": 0.6,
                "relpos": (0, 0.5),
            },
        )
    axes.set_xlim(0, max(sizes) * 1.5)
    margin = max(0.15, (max(heights) - min(heights)) * 0.12)
    axes.set_ylim(min(*heights, *accuracies) - margin, max(*heights, *accuracies) + margin)
    axes.set(xlabel="size in KiB", ylabel="photos read rightly, in %", title="accuracy over size")
    axes.grid(alpha=0.3)


def _latencies(axes: Any, shown: Sequence[Compared]) -> None:
    rows = [(str(one.variant), one.latency) for one in shown if one.latency]
    for row, (name, latency) in enumerate(rows):
        axes.barh(row, latency.p50, color=_COLOURS.get(name, "#555555"))
        axes.plot([latency.p50, latency.p95], [row, row], color="#333333", linewidth=1)
        axes.plot(latency.p95, row, "|", color="#333333", markersize=9)
        axes.text(latency.p95, row, f"  {latency.p50:.2f}", va="center", fontsize=10)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, max(latency.p95 for _, latency in rows) * 1.25)
    axes.set(xlabel="ms for a photo: median, and 95th percentile", title="one thread of this machine")


def _apart(values: Sequence[float], order: Sequence[int], *, least: float) -> list[float]:
    """The values, each moved as little upwards as it takes to lie `least` over the one before it in order."""
    heights = list(values)
    for below, above in pairwise(order):
        heights[above] = max(heights[above], heights[below] + least)
    return heights
