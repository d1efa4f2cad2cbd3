"""Plots as files in every theme, and the Markdown that shows the right one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from visual_memory.terminal.refused import MissingExtra
from visual_memory_benchmarks.report.plots import Canvas
from visual_memory_benchmarks.report.theme import DARK, LIGHT, THEMES, Theme

DOTS_PER_INCH = 160
COLOURS = 256


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot; ``alt`` describes it in words, ``size`` is in inches, ``draw`` fills it."""

    name: str
    alt: str
    size: tuple[float, float]
    draw: Callable[[Canvas], None]

    def save(self, folder: Path) -> None:
        """Save a PNG for each theme. Raises MissingExtra."""
        for theme in THEMES:
            image = self._drawn(theme).quantize(COLOURS, dither=Image.Dither.NONE)
            image.save(folder / f"{self.name}-{theme.name}.png", optimize=True)

    def to_markdown(self, folder: str) -> str:
        """Return the element that shows the plot in the reader's theme."""
        path = f"{folder}/{self.name}"
        dark = f'<source media="(prefers-color-scheme: dark)" srcset="{path}-{DARK.name}.png">'
        light = f'<img alt="{self.alt}" src="{path}-{LIGHT.name}.png">'
        return f"<picture>\n  {dark}\n  {light}\n</picture>"

    def _drawn(self, theme: Theme) -> Image.Image:
        try:
            from matplotlib import style
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ModuleNotFoundError:
            raise MissingExtra("matplotlib", extra="bench", purpose="Drawing results") from None
        with style.context(theme.settings, after_reset=True):
            figure = Figure(figsize=self.size, dpi=DOTS_PER_INCH, layout="constrained")
            canvas: Any = FigureCanvasAgg(figure)
            self.draw(Canvas(figure, theme))
            canvas.draw()  # once, where savefig draws twice and encodes a PNG
            return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
