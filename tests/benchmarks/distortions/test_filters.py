from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visual_memory_benchmarks.distortions import filters
from visual_memory_benchmarks.distortions.picture import Floats

BORDERS: list[filters.Border] = ["constant", "edge", "reflect", "symmetric"]


def by_definition(plane: Floats, kernel: Floats, border: filters.Border) -> Floats:
    """Convolve by the definition."""
    down, across = (side // 2 for side in kernel.shape)
    padded = np.pad(plane, [(down, down), (across, across)], mode=border)
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape)
    summed: Floats = np.einsum("hwij,ij->hw", windows, kernel[::-1, ::-1])
    return summed


@settings(max_examples=20)
@given(st.sampled_from(BORDERS), st.floats(0.3, 5), st.integers(0, 9))
def test_a_gaussian_is_the_convolution_with_its_kernel(
    border: filters.Border, sigma: float, seed: int
) -> None:
    plane = np.random.default_rng(seed).random((17, 23)).astype(np.float32)
    radius = int(4 * sigma + 0.5)
    weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    kernel = np.outer(weights, weights) / weights.sum() ** 2
    np.testing.assert_allclose(
        filters.gaussian(plane, sigma, border),
        by_definition(plane, kernel, border),
        atol=1e-5,
    )


@pytest.mark.parametrize("sigma", [0.4, 1.0, 3.0, 10.0])
def test_a_gaussian_is_cut_off_at_four_sigmas(sigma: float) -> None:
    weights = filters.gaussian_weights(sigma)
    assert len(weights) == 2 * int(4 * sigma + 0.5) + 1
    assert weights.sum() == pytest.approx(1, abs=1e-6)


def test_each_channel_is_filtered_by_itself(rng: np.random.Generator) -> None:
    image = rng.random((20, 30, 3)).astype(np.float32)
    filtered = filters.gaussian(image, 2, "edge")
    convolved = filters.convolve(image, np.full((3, 5), 1 / 15, np.float32), "reflect")
    for channel in range(3):
        plane = image[..., channel]
        np.testing.assert_allclose(
            filtered[..., channel], filters.gaussian(plane, 2, "edge"), atol=1e-6
        )
        np.testing.assert_allclose(
            convolved[..., channel],
            by_definition(plane, np.full((3, 5), 1 / 15), "reflect"),
            atol=1e-6,
        )


@settings(max_examples=20)
@given(st.sampled_from(BORDERS), st.integers(0, 4), st.integers(0, 4), st.integers(0, 99))
def test_the_fourier_transform_convolves_as_the_formula_does(
    border: filters.Border, down: int, across: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    plane = random.random((14, 19)).astype(np.float32)
    kernel = random.standard_normal((2 * down + 1, 2 * across + 1)).astype(np.float32)
    np.testing.assert_allclose(
        filters.convolve(plane, kernel, border), by_definition(plane, kernel, border), atol=1e-4
    )


@given(st.integers(1, 20), st.floats(1, 20), st.floats(-180, 180))
def test_a_streak_goes_one_way_from_the_centre_and_fades(
    radius: int, sigma: float, degrees: float
) -> None:
    kernel = filters.motion_kernel(radius, sigma, degrees)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    places = np.argwhere(kernel > 0) - 2 * radius
    angle = np.deg2rad(degrees)
    along = places @ -np.array([np.sin(angle), np.cos(angle)])
    beside = places @ np.array([np.cos(angle), -np.sin(angle)])
    assert along.min() >= -1
    assert along.max() <= 2 * radius + 1
    assert np.abs(beside).max() <= 1


def test_a_level_streak_is_half_a_gaussian() -> None:
    weights = np.exp(-(np.arange(7) ** 2) / (2 * 2.5**2))
    kernel = filters.motion_kernel(3, 2.5, 0)
    np.testing.assert_allclose(kernel[6, 6::-1], weights / weights.sum(), atol=1e-6)
    assert (np.delete(kernel, 6, axis=0) == 0).all()


def test_samples_at_whole_places_are_the_pixels(rng: np.random.Generator) -> None:
    image = rng.random((9, 11, 3)).astype(np.float32)
    rows, columns = np.meshgrid(np.arange(9.0), np.arange(11.0), indexing="ij")
    np.testing.assert_allclose(filters.sample(image, rows, columns), image, atol=1e-6)


def test_samples_between_pixels_are_linear_and_beyond_the_border_mirrored() -> None:
    ramp = np.repeat(np.arange(5, dtype=np.float32)[np.newaxis, :, np.newaxis], 3, axis=2)
    ramp = np.repeat(ramp, 4, axis=0)
    columns = np.array([[0.25, 3.5, -1.0, -0.5, 4.5, 5.5]], np.float32)
    seen = filters.sample(ramp, np.zeros_like(columns), columns)[0, :, 0]
    np.testing.assert_allclose(seen, [0.25, 3.5, 0.0, 0.0, 4.0, 3.5], atol=1e-6)


def test_a_zoom_of_one_changes_nothing_and_of_two_shows_the_middle(
    rng: np.random.Generator,
) -> None:
    image = rng.random((64, 64, 1)).astype(np.float32)
    np.testing.assert_array_equal(filters.zoomed(image, 1), image)
    at = np.linspace(16, 47, 64)
    down = np.stack([np.interp(at, np.arange(64), each) for each in image[..., 0].T], axis=1)
    expected = np.stack([np.interp(at, np.arange(64), each) for each in down])
    np.testing.assert_allclose(filters.zoomed(image, 2)[..., 0], expected, atol=1e-5)


def test_what_is_enlarged_by_too_much_is_cut_evenly(rng: np.random.Generator) -> None:
    """50 pixels enlarged 4.5 times are 225, of which 224 remain."""
    line = np.arange(224.0, dtype=np.float32).reshape(1, 224, 1)
    seen = filters.zoomed(np.repeat(line, 224, axis=0), 4.5)[0, :, 0]
    np.testing.assert_allclose(seen, 87 + np.arange(224) * 49 / 224, rtol=1e-5)


def test_normal_numbers_are_normal(rng: np.random.Generator) -> None:
    numbers = filters.normals(rng, (512, 512)).ravel()
    assert numbers.dtype == np.float32
    assert abs(numbers.mean()) < 0.01
    assert numbers.std() == pytest.approx(1, abs=0.01)
    assert (numbers**3).mean() == pytest.approx(0, abs=0.03)
    assert (numbers**4).mean() == pytest.approx(3, abs=0.06)
    assert 4 < np.abs(numbers).max() < 6
    sines, cosines = np.split(numbers, 2)
    assert abs((sines * cosines).mean()) < 0.01


@pytest.mark.parametrize("shape", [(1,), (3, 5), (3, 5, 7)])
def test_an_odd_number_of_normal_numbers_is_possible(
    shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    assert filters.normals(rng, shape).shape == shape


def test_normal_numbers_are_the_same_in_memory_that_is_used_again() -> None:
    memory = np.empty((8, 6), np.float32)
    again = filters.normals(np.random.default_rng(3), (8, 6), memory)
    np.testing.assert_array_equal(again, filters.normals(np.random.default_rng(3), (8, 6)))
    assert np.shares_memory(again, memory)
