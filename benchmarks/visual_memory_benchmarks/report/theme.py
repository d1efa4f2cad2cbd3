"""Light and dark themes of pictures, with colours that the colour-blind can tell apart."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any


@dataclass(frozen=True, slots=True)
class Series:
    """The style of one series; colour is never its only mark."""

    colour: str
    marker: str
    line: str

    @property
    def plotted(self) -> dict[str, Any]:
        """Return keywords for ``Axes.errorbar`` and ``Axes.plot``."""
        return {"color": self.colour, "marker": self.marker, "linestyle": self.line}

    @property
    def dotted(self) -> dict[str, Any]:
        """Return keywords for points without a line."""
        return {**self.plotted, "linestyle": "none"}


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of plots; ``colours``, for series, are Okabe and Ito's (2008), lighter on dark."""

    name: str
    ground: str
    ink: str
    faint: str
    colours: tuple[str, ...]

    def series(self, count: int) -> list[Series]:
        """Return ``count`` styles of series; markers and lines are alike in both themes."""
        looks = zip(cycle(self.colours), cycle(MARKERS), cycle(LINES), strict=False)
        return [Series(*each) for each in islice(looks, count)]

    @property
    def settings(self) -> dict[str, Any]:
        """Return settings for matplotlib."""
        return {
            "figure.facecolor": self.ground,
            "savefig.facecolor": self.ground,
            "axes.facecolor": self.ground,
            "axes.edgecolor": self.faint,
            "axes.labelcolor": self.ink,
            "axes.titlecolor": self.ink,
            "axes.titlesize": 10,
            "axes.titlelocation": "left",
            "axes.labelsize": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "axes.grid": True,
            "grid.color": self.faint,
            "grid.alpha": 0.35,
            "grid.linewidth": 0.6,
            "text.color": self.ink,
            "xtick.color": self.ink,
            "ytick.color": self.ink,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "legend.fontsize": 8,
            "legend.frameon": False,
            "legend.labelcolor": self.ink,
            "font.family": "DejaVu Sans",
            "font.size": 9,
            "lines.linewidth": 1.4,
            "lines.markersize": 5,
            "errorbar.capsize": 2,
        }


MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":")

LIGHT = Theme(
    "light",
    "#ffffff",
    "#1f2328",
    "#8c959f",
    ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#000000", "#e69f00", "#56b4e9"),
)
DARK = Theme(
    "dark",
    "#0d1117",
    "#e6edf3",
    "#6e7681",
    ("#56b4e9", "#f0863c", "#2fc79a", "#e39bc8", "#ffffff", "#f0e442", "#8fa8ff"),
)
THEMES = (LIGHT, DARK)
