from __future__ import annotations

import colorsys
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from visual_memory_benchmarks.distortions import filters, imagenet_c
from visual_memory_benchmarks.distortions.picture import Floats, Picture, unit

SIDE = 224
images = arrays(np.float32, (4, 5, 3), elements=st.floats(0, 1, width=32))


def flat(value: float, side: int = SIDE) -> Floats:
    return np.full((side, side, 3), value, np.float32)


@pytest.mark.parametrize("deviation", [0.08, 0.12, 0.18, 0.26, 0.38])
def test_gaussian_noise_has_its_deviation_and_speckles_in_proportion_to_light(
    deviation: float, rng: np.random.Generator
) -> None:
    for noise in (
        imagenet_c.gaussian_noise(flat(0.4), deviation, rng) - 0.4,
        (imagenet_c.speckle_noise(flat(0.4), deviation, rng) - 0.4) / 0.4,
    ):
        assert noise.mean() == pytest.approx(0, abs=0.01 * deviation)
        assert noise.std() == pytest.approx(deviation, rel=0.01)
        assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.02
    assert (imagenet_c.speckle_noise(flat(0.0), deviation, rng) == 0).all()


@pytest.mark.parametrize("photons", [60, 25, 12, 5, 3])
def test_shot_noise_counts_photons(photons: int, rng: np.random.Generator) -> None:
    seen = imagenet_c.shot_noise(flat(0.5), photons, rng)
    assert seen.mean() == pytest.approx(0.5, rel=0.01)
    assert seen.var() == pytest.approx(0.5 / photons, rel=0.03)
    np.testing.assert_allclose(seen * photons, np.rint(seen * photons), atol=1e-4)


@pytest.mark.parametrize("share", [0.03, 0.06, 0.09, 0.17, 0.27])
def test_impulses_hit_each_channel_by_itself_half_black_half_white(
    share: float, rng: np.random.Generator
) -> None:
    seen = imagenet_c.impulse_noise(flat(0.4), share, rng)
    assert (seen == 0).mean() == pytest.approx(share / 2, rel=0.06)
    assert (seen == 1).mean() == pytest.approx(share / 2, rel=0.06)
    hit = seen != np.float32(0.4)
    assert (hit[..., 0] & hit[..., 1]).mean() == pytest.approx(share**2, rel=0.3)


@pytest.mark.parametrize(("radius", "softness"), [(3, 0.1), (4, 0.5), (6, 0.5), (10, 0.5)])
def test_a_point_out_of_focus_is_a_disk(radius: int, softness: float) -> None:
    point = np.zeros((61, 61, 3), np.float32)
    point[30, 30] = 1
    seen = imagenet_c.defocus_blur(point, radius, softness)[..., 0]
    from_middle = np.hypot(*np.meshgrid(np.arange(61) - 30, np.arange(61) - 30))
    inside = seen[from_middle <= radius - 2.5]
    assert np.ptp(inside) < 1e-4
    assert 1 / inside.mean() == pytest.approx(np.pi * radius**2, rel=0.12)
    assert np.abs(seen[from_middle > radius + 2.9]).max() < 1e-5


@pytest.mark.parametrize(
    ("disk", "light"),
    [((3, 0.1), 1), ((6, 0.5), 1), ((8, 0.5), 1.01298), ((10, 0.5), 1.01079)],
)
def test_disks_that_fill_their_square_brighten_as_published(
    disk: tuple[int, float], light: float
) -> None:
    seen = imagenet_c.defocus_blur(flat(0.5), *disk)
    np.testing.assert_allclose(seen, 0.5 * light, atol=1e-4)


def shifted_one_by_one(image: Floats, shift: int, times: int, rng: np.random.Generator) -> Floats:
    """Run the loop of the published code, which copies a pixel instead of swapping two."""
    height, width = image.shape[:2]
    values = image.copy()
    for _ in range(times):
        down, across = rng.integers(-shift, shift, (2, height - 2 * shift, width - 2 * shift))
        for row in range(height - shift, shift, -1):
            for column in range(width - shift, shift, -1):
                at = (row - shift - 1, column - shift - 1)
                values[row, column] = values[row + down[at], column + across[at]]
    return values


@pytest.mark.parametrize(("shift", "times"), [(1, 2), (2, 1), (2, 3), (3, 2), (4, 2)])
def test_glass_shifts_pixels_one_after_the_other(shift: int, times: int) -> None:
    image = np.random.default_rng(1).random((32, 40, 3)).astype(np.float32)
    seen = imagenet_c.shifted(image, shift, times, np.random.default_rng(2))
    expected = shifted_one_by_one(image, shift, times, np.random.default_rng(2))
    np.testing.assert_array_equal(seen, expected)
    assert (seen != image).any()


def test_glass_blurs_before_and_after(rng: np.random.Generator) -> None:
    np.testing.assert_allclose(imagenet_c.glass_blur(flat(0.4), 1, 2, 3, rng), 0.4, atol=1e-5)
    noisy = rng.random((64, 64, 3)).astype(np.float32)
    seen = imagenet_c.glass_blur(noisy, 1.5, 4, 2, rng)
    assert np.abs(np.diff(seen, axis=0)).mean() < np.abs(np.diff(noisy, axis=0)).mean() / 4


@pytest.mark.parametrize(("radius", "sigma"), [(10, 3), (15, 8), (20, 15)])
def test_motion_smears_a_point_within_45_degrees_of_level(
    radius: int, sigma: float, rng: np.random.Generator
) -> None:
    point = np.zeros((129, 129, 3), np.float32)
    point[64, 64] = 1
    seen = imagenet_c.motion_blur(point, radius, sigma, rng)[..., 0]
    assert seen.sum() == pytest.approx(1, abs=1e-3)
    rows, columns = np.nonzero(seen > 1e-4)
    assert np.ptp(columns) >= np.ptp(rows)
    assert (columns - 64).max() <= 0  # one side only
    assert np.hypot(rows - 64, columns - 64).max() <= 2 * radius + 1


@pytest.mark.parametrize(
    ("end", "step", "count"),
    [
        (1.11, 0.01, 12),  # in floats 1 + 11 · 0.01 is below 1.11
        (1.16, 0.01, 16),
        (1.21, 0.02, 11),
        (1.26, 0.02, 13),
        (1.31, 0.03, 11),
    ],
)
def test_zooms_go_from_one_to_their_end_in_floats(end: float, step: float, count: int) -> None:
    factors = imagenet_c.zoom_factors(end, step)
    assert len(factors) == count
    assert np.allclose(factors, 1 + step * np.arange(count))


def test_a_zoom_blur_is_the_mean_of_the_image_and_its_zooms(clean: Picture) -> None:
    zoomed = [filters.zoomed(unit(clean), factor) for factor in (1, 1.02, 1.04)]
    expected = (unit(clean) + np.sum(zoomed, axis=0)) / 4
    np.testing.assert_allclose(imagenet_c.zoom_blur(unit(clean), 1.05, 0.02), expected, atol=1e-5)


def by_hsv(image: Floats, factor: float, more: float, brighter: float) -> Floats:
    """Convert pixel by pixel through the standard library."""
    pixels = []
    for pixel in image.reshape(-1, 3).tolist():
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        saturation = min(max(saturation * factor + more, 0), 1)
        pixels.append(colorsys.hsv_to_rgb(hue, saturation, min(value + brighter, 1)))
    return np.array(pixels).reshape(image.shape)


greys = st.floats(0, 1, width=32).map(lambda value: np.full((4, 5, 3), value, np.float32))


@given(st.one_of(images, greys), st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5]))
def test_brightness_raises_the_value_of_hsv(image: Floats, more: float) -> None:
    image[image < 1e-3] = 0  # of what is nearly black no float tells the hue
    np.testing.assert_allclose(
        imagenet_c.brightness(image, more), by_hsv(image, 1, 0, more), atol=1e-4
    )


@given(
    st.one_of(images, greys),
    st.sampled_from([(0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)]),
)
def test_saturate_changes_the_saturation_of_hsv(
    image: Floats, parameters: tuple[float, float]
) -> None:
    image = np.round(image * 255) / np.float32(255)
    np.testing.assert_allclose(
        imagenet_c.saturate(image, *parameters),
        by_hsv(image, *parameters, 0),
        atol=1e-4,
    )


@given(images, st.sampled_from([0.4, 0.3, 0.2, 0.1, 0.05]))
def test_contrast_shrinks_around_the_mean_of_each_channel(image: Floats, factor: float) -> None:
    seen = imagenet_c.contrast(image, factor)
    np.testing.assert_allclose(seen.mean((0, 1)), image.mean((0, 1)), atol=1e-5)
    np.testing.assert_allclose(seen.std((0, 1)), factor * image.std((0, 1)), atol=1e-5)


@pytest.mark.parametrize("strength", [12.5, 16.25, 21.25, 25, 30])
def test_elastic_pixels_move_by_blurred_noise(strength: float, rng: np.random.Generator) -> None:
    np.testing.assert_allclose(
        imagenet_c.elastic_transform(flat(0.6), strength, rng), 0.6, atol=1e-6
    )
    ramp = np.broadcast_to(
        np.arange(SIDE, dtype=np.float32)[:, np.newaxis, np.newaxis], (SIDE, SIDE, 3)
    )
    moved = (imagenet_c.elastic_transform(ramp, strength, rng) - ramp)[20:-20, 20:-20]
    sigma = 0.01 * SIDE
    expected = strength * 0.005 * SIDE / np.sqrt(3) / (2 * np.sqrt(np.pi) * sigma)
    assert moved.std() == pytest.approx(expected, rel=0.1)
    assert np.abs(moved).max() < strength * 0.005 * SIDE


@pytest.mark.parametrize("scale", [0.6, 0.5, 0.4, 0.3, 0.25])
def test_pixels_are_repeated(clean: Picture, scale: float) -> None:
    seen = imagenet_c.pixelate(clean, scale)
    rows = 1 + (seen[1:] != seen[:-1]).any((1, 2)).sum()
    columns = 1 + (seen[:, 1:] != seen[:, :-1]).any((0, 2)).sum()
    assert (rows, columns) == (int(SIDE * scale), int(SIDE * scale))
    assert seen.mean() == pytest.approx(clean.mean(), abs=2)


def test_pixels_of_a_quarter_are_means_of_4_by_4(clean: Picture) -> None:
    means = clean.reshape(56, 4, 56, 4, 3).mean((1, 3))
    seen = imagenet_c.pixelate(clean, 0.25)
    np.testing.assert_allclose(seen[::4, ::4], means, atol=0.51 + 1)
    assert (seen.reshape(56, 4, 56, 4, 3) == seen[::4, ::4][:, np.newaxis, :, np.newaxis]).all()


def test_jpeg_is_pillows(clean: Picture) -> None:
    file = io.BytesIO()
    Image.fromarray(clean).save(file, "JPEG", quality=7)
    with Image.open(file) as image:
        np.testing.assert_array_equal(imagenet_c.jpeg_compression(clean, 7), np.array(image))


def test_a_gaussian_blur_continues_the_border(clean: Picture) -> None:
    np.testing.assert_allclose(imagenet_c.gaussian_blur(flat(0.7), 6), 0.7, atol=1e-5)
    point = np.zeros((65, 65, 3), np.float32)
    point[32, 32] = 1
    seen = imagenet_c.gaussian_blur(point, 4)[..., 0]
    assert seen[32, 32] == pytest.approx(1 / (2 * np.pi * 16), rel=0.01)
    assert seen[32, 36] / seen[32, 32] == pytest.approx(np.exp(-0.5), rel=1e-3)
