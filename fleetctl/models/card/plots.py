"""The plots of a model card as PNG bytes: a pure function of the numbers, without date and program name."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetctl.models.card.figures import Bin
from fleetctl.models.drawing import drawing, png

_DPI = 120
_CELL = 0.085  # inches a sign; a label of 5 points needs as much
_DARK = 0.6  # of the way to the darkest of its colour a cell takes white text
_LABELLED = 40  # up to so many signs, cells have room for their counts


def confusion_png(signs: Sequence[str], counts: NDArray[np.int64]) -> bytes:
    """A confusion matrix: rows are signs, columns what they were taken for, colour is the log of how often.

    Right answers are drawn in blue and wrong ones in red: on one scale the diagonal would hide the rest.
    Lines part the groups of the sign list.
    """
    with drawing() as matplotlib:
        few = len(signs) <= _LABELLED
        cell = 0.22 if few else _CELL
        side = max(4.0, cell * len(signs))
        figure = matplotlib.figure.Figure(figsize=(side + 2.0, side + 0.4), dpi=_DPI, layout="constrained")
        axes = figure.add_subplot()
        right = np.where(np.eye(len(signs), dtype=bool), counts, 0)
        roomy = min(1.5, side / len(signs) / cell)  # how much larger than its text a cell is
        for part, colours, label in ((right, "Blues", "read rightly"), (counts - right, "Reds", "misread")):
            _cells(figure, axes, part, colours, label)
            if few:
                _write_counts(axes, part, points=5.5 * roomy)
        if not few:
            _part_groups(axes, signs)
        points = 6 * roomy if few else 5
        axes.set_xticks(range(len(signs)), signs, rotation=90, fontsize=points)
        axes.set_yticks(range(len(signs)), signs, fontsize=points)
        axes.tick_params(length=1, pad=1)
        axes.set_xlabel("taken for")
        axes.set_ylabel("sign")
        return png(figure)


def reliability_png(bins: Sequence[Bin], error: float) -> bytes:
    """How often answers are right, by their score, over how many answers there are of each score."""
    with drawing() as matplotlib:
        figure = matplotlib.figure.Figure(figsize=(5, 5.4), dpi=_DPI, layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        lows, width = [part.low for part in bins], 1 / 10
        upper.bar(
            lows, [part.accuracy for part in bins], width, align="edge", color="#4c72b0", edgecolor="white"
        )
        upper.plot([0, 1], [0, 1], color="#555555", linestyle="--", linewidth=1)
        upper.plot(
            [part.score for part in bins],
            [part.accuracy for part in bins],
            "o",
            color="#c44e52",
            markersize=4,
        )
        upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="answers that are right")
        upper.set_title(f"expected calibration error {100 * error:.1f} %", fontsize=10)
        lower.bar(
            lows, [part.count for part in bins], width, align="edge", color="#8c8c8c", edgecolor="white"
        )
        lower.set(xlabel="score", ylabel="answers", yscale="log")
        lower.set_ylim(bottom=0.5)  # a single answer must be seen
        lower.yaxis.set_major_formatter("{x:.0f}")
        lower.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        return png(figure)


def _cells(figure: Any, axes: Any, counts: NDArray[np.int64], colours: str, label: str) -> None:
    norm = _scale(counts)
    shown = np.where(counts > 0, counts, np.nan)  # nothing is drawn of what is not a number
    image = axes.imshow(shown, cmap=colours, norm=norm, interpolation="none")
    bar = figure.colorbar(image, ax=axes, shrink=0.4, pad=0.01, label=label)
    ticks = [tick for tick in (1, 3, 10, 30, 100, 300, 1000) if tick <= norm.vmax]
    bar.set_ticks(ticks, labels=[str(tick) for tick in ticks])
    bar.ax.minorticks_off()


def _scale(counts: NDArray[np.int64]) -> Any:
    """How dark a cell is, 0 to 1. From a third of a sample on: a single one must be seen."""
    from matplotlib.colors import LogNorm

    return LogNorm(vmin=0.3, vmax=max(2, int(counts.max(initial=0))))


def _write_counts(axes: Any, part: NDArray[np.int64], points: float) -> None:
    """The counts of the cells of one colour, in white where that is dark."""
    norm = _scale(part)
    for row, column in zip(*np.nonzero(part), strict=True):
        count = part[row, column]
        axes.text(
            column, row, str(count), ha="center", va="center", fontsize=points,
            color="white" if norm(count) > _DARK else "black",
        )  # fmt: skip


def _part_groups(axes: Any, signs: Sequence[str]) -> None:
    """A thin line wherever the letters of the codes change: they lead the eye from a cell to its labels."""
    groups = [sign.rstrip("0123456789") for sign in signs]
    for place in range(1, len(signs)):
        if groups[place] != groups[place - 1]:
            for line in (axes.axhline, axes.axvline):
                line(place - 0.5, color="#dddddd", linewidth=0.6, zorder=0)
