from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from visual_memory_benchmarks.distortions.opponent import (
    BACKGROUND,
    MONITOR,
    TO_CONES,
    TO_OPPONENT,
    opponent_colours,
    opponents,
)
from visual_memory_benchmarks.distortions.picture import Floats, Picture

LIGHT = [0.0, 0.00101, 0.00722, 0.0207, 0.04412, 0.07786, 0.12391, 0.17802, 0.24409, 0.31664]
LIGHT += [0.39816, 0.49194, 0.59044, 0.69121, 0.80422, 0.92076, 1.0]


def components(light: Floats) -> Floats:
    """Return luminance, L – M, S – luminance."""
    found: Floats = (light @ TO_CONES.T - BACKGROUND) @ TO_OPPONENT.T
    return found


def test_the_monitor_gives_the_light_of_the_table() -> None:
    np.testing.assert_allclose(MONITOR[[*range(0, 256, 16), 255]], LIGHT, atol=1e-6)


def test_more_is_always_brighter() -> None:
    assert (np.diff(MONITOR) > 0).all()
    assert len(MONITOR) == 256


def test_the_background_is_half_of_the_light() -> None:
    np.testing.assert_allclose(TO_CONES @ np.full(3, 0.5), BACKGROUND, atol=1e-7)


def test_grey_has_no_colour_and_stays_as_it_is() -> None:
    greys = np.repeat(np.arange(256, dtype=np.uint8)[np.newaxis, :, np.newaxis], 3, axis=2)
    assert np.abs(components(MONITOR[greys])[..., 1:]).max() < 1e-6
    changed = opponent_colours(greys).astype(int)
    assert np.abs(changed - greys).max() <= 1


colours = st.tuples(*[st.floats(0, 1, width=32)] * 3)


@given(colours)
def test_twice_is_the_colour_itself(colour: tuple[float, float, float]) -> None:
    light = np.array([colour], np.float32)
    np.testing.assert_allclose(opponents(opponents(light)), light, atol=1e-5)


@given(colours)
def test_luminance_stays_and_the_colours_change_sides(colour: tuple[float, float, float]) -> None:
    light = np.array([colour], np.float32)
    expected = components(light) * [1, -1, -1]
    np.testing.assert_allclose(components(opponents(light)), expected, atol=1e-4)


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_a_picture_twice_is_the_picture_where_nothing_was_clipped(
    colour: tuple[int, int, int],
) -> None:
    picture: Picture = np.array([[colour]], np.uint8)
    once = opponents(MONITOR[picture])
    assume(once.min() >= 0 and once.max() <= 1)
    light = MONITOR[opponent_colours(opponent_colours(picture))]
    # Each of two roundings is half a step of the monitor at most, and the second is of what the
    # first has become: a few steps of the brightest levels.
    assert np.abs(light - MONITOR[picture]).max() < 0.03


@pytest.mark.parametrize(
    ("colour", "channel", "other"), [((200, 80, 80), 0, 1), ((80, 170, 80), 1, 0)]
)
def test_red_becomes_greenish_and_green_reddish(
    colour: tuple[int, int, int], channel: int, other: int
) -> None:
    changed = opponent_colours(np.array([[colour]], np.uint8))[0, 0].tolist()
    assert changed[channel] < changed[other]
