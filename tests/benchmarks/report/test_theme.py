"""Colours can be read on their ground, and series told apart without them."""

from __future__ import annotations

import pytest

from visual_memory_benchmarks.report.theme import THEMES, Theme

SERIES = 7  # as many as any plot has
READABLE = 2.0  # of marks of 5 points; text has 4.5 and more


def luminance(colour: str) -> float:
    """Return relative luminance, as the web's accessibility guidelines define it."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_colours_stand_out_from_the_ground(theme: Theme) -> None:
    assert contrast(theme.ink, theme.ground) > 7
    assert min(contrast(colour, theme.ground) for colour in theme.colours) > READABLE


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_no_two_series_share_colour_or_marker(theme: Theme) -> None:
    series = theme.series(SERIES)

    assert len({each.colour for each in series}) == SERIES
    assert len({each.marker for each in series}) == SERIES
