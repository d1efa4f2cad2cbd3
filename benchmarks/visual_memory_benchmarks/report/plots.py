"""The canvas of plots, and elements that several of them share."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from visual_memory_benchmarks.report.markdown import Estimate
from visual_memory_benchmarks.report.theme import Series, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Canvas:
    """A figure of matplotlib to draw on, in a theme."""

    figure: Figure
    theme: Theme

    def series(self, names: Collection[T]) -> Iterator[tuple[T, Series]]:
        """Yield each of the names with a style of its own."""
        return zip(names, self.theme.series(len(names)), strict=True)

    def legend_below(self, axes: Axes, columns: int, title: str | None = None) -> None:
        """Draw one legend for all plots, from the given axes."""
        handles = axes.get_legend_handles_labels()
        self.figure.legend(*handles, loc="outside lower center", ncols=columns, title=title)

    def unchanged(self, axes: Axes, *, horizontal: bool = False) -> None:
        """Draw a line where a change is 0: a level line or, if ``horizontal``, an upright one.

        Values are on the x axis if ``horizontal``, else on the y axis.
        """
        (axes.axvline if horizontal else axes.axhline)(0, color=self.theme.faint, linewidth=1)


def error_bars(
    axes: Axes,
    places: Sequence[float],
    estimates: Sequence[Estimate | None],
    look: Mapping[str, Any],
    *,
    label: str,
    horizontal: bool = False,
) -> None:
    """Draw estimates at ``places`` with their intervals; undefined ones are left out.

    ``look`` are keywords of ``Axes.errorbar``, ``label`` names the series in the legend. Places are
    on the x axis or, if ``horizontal``, on the y axis.
    """
    shown = [
        (place, each)
        for place, each in zip(places, estimates, strict=True)
        if each is not None and each["value"] is not None
    ]
    values, low, high = np.array(
        [
            [each["value"] if each[key] is None else each[key] for key in ("value", "low", "high")]
            for _, each in shown
        ],
        np.float64,
    ).T.reshape(3, -1)
    reach = np.maximum(0, [values - low, high - values])
    at = [place for place, _ in shown]
    if horizontal:
        axes.errorbar(values, at, xerr=reach, label=label, elinewidth=1, **look)
    else:
        axes.errorbar(at, values, yerr=reach, label=label, elinewidth=1, **look)


def logarithmic(axes: Axes, ticks: Sequence[float], *, axis: str = "x") -> None:
    """Make an axis logarithmic with the given ticks alone."""
    from matplotlib.ticker import NullLocator

    found = axes.xaxis if axis == "x" else axes.yaxis
    (axes.set_xscale if axis == "x" else axes.set_yscale)("log")
    found.set_minor_locator(NullLocator())
    found.set_ticks(list(ticks), [f"{each:g}" for each in ticks])
