from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from visual_memory_benchmarks.distortions import frost, weather
from visual_memory_benchmarks.distortions.picture import Floats, Picture, unit
from visual_memory_benchmarks.distortions.registry import DISTORTIONS

SIDE = 224
LEVELS = [str(level) for level in range(1, 6)]


def flat(value: float) -> Floats:
    return np.full((SIDE, SIDE, 3), value, np.float32)


@pytest.mark.parametrize("level", LEVELS)
def test_snow_only_brightens(clean: Picture, level: str, rng: np.random.Generator) -> None:
    image = unit(clean)
    seen = weather.snow(image, DISTORTIONS["imagenet-c-snow"].levels[level], rng)
    assert (seen >= image - 1e-5).all()


def test_flakes_fall_downwards_on_what_is_kept_of_the_picture(rng: np.random.Generator) -> None:
    parameters = weather.Snow(0.1, 0.3, 3, 0.5, 10, 4, 0.8)
    seen = weather.snow(flat(0.0), parameters, rng)[..., 0]
    # Where no flake falls, black becomes a fifth of a half.
    assert seen.min() == pytest.approx(0.2 * 0.5, abs=1e-4)
    flakes = seen - seen.min()
    assert 0.005 < (flakes > 0.2).mean() < 0.5
    down, across = (np.abs(np.diff(flakes, axis=axis)).mean() for axis in (0, 1))
    assert down < across
    np.testing.assert_allclose(flakes, np.rot90(flakes, 2), atol=1e-5)


@pytest.mark.parametrize("level", LEVELS)
def test_frost_is_the_weighted_sum_of_picture_and_crystals(clean: Picture, level: str) -> None:
    kept, weight = DISTORTIONS["imagenet-c-frost"].levels[level]
    seen = weather.frosted(unit(clean), kept, weight, np.random.default_rng(4))
    crystals = frost.crystals(SIDE, SIDE, np.random.default_rng(4))
    expected = kept * unit(clean) + weight * crystals
    np.testing.assert_allclose(seen, expected, atol=1e-6)


@pytest.mark.parametrize("level", LEVELS)
def test_fog_is_as_bright_as_the_picture_at_most(
    clean: Picture, level: str, rng: np.random.Generator
) -> None:
    strength, decay = DISTORTIONS["imagenet-c-fog"].levels[level]
    image = unit(clean) * np.float32(0.8)
    seen = weather.fog(image, strength, decay, rng)
    brightest = image.max()
    kept = brightest / (brightest + strength)
    assert seen.max() <= brightest + 1e-5
    assert (seen >= kept * image - 1e-5).all()
    mist = (seen / kept - image) / strength
    assert np.ptp(mist, axis=2).max() < 1e-4
    assert -1e-4 < mist.min() < mist.max() < 1 + 1e-4


def test_black_stays_black_in_fog(rng: np.random.Generator) -> None:
    assert (weather.fog(flat(0.0), 3, 1.4, rng) == 0).all()


@pytest.mark.parametrize("level", ["1", "2", "3"])
def test_water_adds_light_of_its_colour(level: str, rng: np.random.Generator) -> None:
    parameters = DISTORTIONS["imagenet-c-spatter"].levels[level]
    assert not parameters.mud
    light = weather.spatter(flat(0.0), parameters, rng)
    brightest = light.reshape(-1, 3)[light.sum(2).argmax()]
    np.testing.assert_allclose(
        brightest, parameters.strength * np.array([175, 238, 238]) / 255, rtol=1e-4
    )
    assert light.min() > -1e-6
    assert 0.01 < (light[..., 0] > 0.01).mean() < 0.5


@pytest.mark.parametrize("level", ["4", "5"])
def test_mud_covers_what_is_behind_it(level: str, rng: np.random.Generator) -> None:
    parameters = DISTORTIONS["imagenet-c-spatter"].levels[level]
    assert parameters.mud
    seen = weather.spatter(flat(1.0), parameters, rng)
    darkest = seen.reshape(-1, 3)[seen.sum(2).argmin()]
    np.testing.assert_allclose(darkest, np.array([63, 42, 20]) / 255, atol=0.03)
    covered = (seen < 0.99).any(2)
    assert 0.02 < covered.mean() < 0.4
    assert (seen[covered] < 0.4).all()


@settings(max_examples=25)
@given(arrays(np.bool_, (12, 15)), st.integers(1, 8))
def test_distances_are_those_to_the_nearest_pixel(mask: NDArray[np.bool_], furthest: int) -> None:
    found = weather.distance(mask, furthest)
    places = np.argwhere(mask)
    for row, column in np.ndindex(mask.shape):
        expected = min((np.hypot(row - r, column - c) for r, c in places), default=np.inf)
        if expected <= furthest:
            assert found[row, column] == pytest.approx(expected, abs=1e-5)
        else:
            assert found[row, column] > furthest
