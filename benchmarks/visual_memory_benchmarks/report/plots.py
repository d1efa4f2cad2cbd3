"""Elements that several plots share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from visual_memory_benchmarks.report.markdown import Estimate
from visual_memory_benchmarks.report.theme import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def error_bars(
    axes: Axes,
    places: Sequence[float],
    estimates: Sequence[Estimate | None],
    look: Mapping[str, Any],
    *,
    label: str,
    horizontal: bool = False,
) -> None:
    """Draw values with their intervals at places, without undefined ones."""
    shown = [
        (place, each)
        for place, each in zip(places, estimates, strict=True)
        if each is not None and each["value"] is not None
    ]
    values = np.array([_float(each["value"]) for _, each in shown])
    ends = np.array([[_end(each, "low"), _end(each, "high")] for _, each in shown]).reshape(-1, 2)
    reach = np.maximum(0, np.stack([values - ends[:, 0], ends[:, 1] - values]))
    at = [place for place, _ in shown]
    if horizontal:
        axes.errorbar(values, at, xerr=reach, label=label, elinewidth=1, **look)
    else:
        axes.errorbar(at, values, yerr=reach, label=label, elinewidth=1, **look)


def legend_below(figure: Figure, axes: Axes, columns: int) -> None:
    """Draw one legend for all plots of a figure, from the given axes."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns)


def unchanged(axes: Axes, theme: Theme, *, horizontal: bool = False) -> None:
    """Draw a line where nothing changes."""
    (axes.axvline if horizontal else axes.axhline)(0, color=theme.faint, linewidth=1)


def logarithmic(axes: Axes, ticks: Sequence[float], *, axis: str = "x") -> None:
    """Make an axis logarithmic with the given ticks alone."""
    found = axes.xaxis if axis == "x" else axes.yaxis
    (axes.set_xscale if axis == "x" else axes.set_yscale)("log")
    found.set_minor_locator(_nowhere())
    found.set_ticks(list(ticks), [f"{each:g}" for each in ticks])


def _nowhere() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _float(value: float | None) -> float:
    return np.nan if value is None else value


def _end(estimate: Estimate, key: str) -> float:
    return _float(estimate["value"] if estimate[key] is None else estimate[key])
